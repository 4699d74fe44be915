"""Where the time goes, on the page and in the Markdown: the same words, and the numbers of the document."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from tests.runtime.reporting.example import document, row, sweep, twin
from tks_edge_runtime.artifact import ANALOGUE, NEURON, SPIKES, WEIGHTS, LayerSpec
from tks_edge_runtime.layer_profile import OTHER, EngineNode, LayerProfile, LayerTime
from tks_edge_runtime.layer_table import LayerTable
from tks_edge_runtime.reporting.build import write_report
from tks_edge_runtime.reporting.wording import NONE
from tks_edge_runtime.show_layers import short

LAYERS = (
    LayerTime(
        "stem.0",
        0.1234,
        0.24,
        (EngineNode("stem.0.conv_<x>", ("stem.0",), 0.1), EngineNode("a|b", ("stem.0",), 0.0234)),
        LayerSpec("stem.0", WEIGHTS, 36_864, ANALOGUE, 0.875),
    ),
    LayerTime("body_1", 0.0, 0.0, (), LayerSpec("body_1", NEURON, fire_rate=0.25)),
    LayerTime(
        "body.2",
        0.02,
        0.04,
        (EngineNode("body.2.conv", ("body.2",), 0.02),),
        LayerSpec("body.2", WEIGHTS, 555_422_720, SPIKES, 0.25),
    ),
    LayerTime(OTHER, 0.3702, 0.72, (EngineNode("mean", (), 0.3702),), None),
)


def profiled(timesteps: int, unprofiled_ms: float | None) -> LayerProfile:
    method = "ONNX Runtime's profiler; medians of 30 runs"
    return LayerProfile("onnxruntime", "cpu", timesteps, 30, LAYERS, 0.5136, 0.5012, unprofiled_ms, method)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers")
    rows = [
        *sweep()[:2],
        row(4, 590, 0.5, name="digits_b", layer_profile=profiled(4, 0.4444)),
        twin(590, 0.05, layer_profile=profiled(1, None)),
    ]
    write_report(document(rows), path)
    return path


def tables(folder: Path) -> list[list[list[str]]]:
    """The cells of the tables in the Markdown, line by line, without the marks under the headers."""
    found: list[list[list[str]]] = []
    text = (folder / "report.md").read_text(encoding="utf-8").split(f"## {LayerTable.title}\n")[1].split("\n## ")[0]
    for block in text.split("\n\n"):
        if block.startswith("|"):
            lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()]
            cells = [[html.unescape(re.sub(r"\\(.)", r"\1", cell.strip())) for cell in line] for line in lines]
            found.append([cells[0], *cells[2:]])
    return found


def page_tables(folder: Path) -> list[list[list[str]]]:
    page = (folder / "report.html").read_text(encoding="utf-8")
    sections = re.findall(r'<details class="layers".*?</details>', page, flags=re.DOTALL)
    return [
        [
            [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)]
            for line in re.findall(r"<tr>(.*?)</tr>", section, flags=re.DOTALL)
        ]
        for section in sections
    ]


def test_the_numbers_in_the_markdown_are_those_of_the_document(folder: Path) -> None:
    rows = json.loads((folder / "report.json").read_text(encoding="utf-8"))["rows"]
    profiles = [one["layer_profile"] for one in rows if one["layer_profile"] is not None]
    found = tables(folder)
    assert len(found) == len(profiles) == 2
    for (header, *lines), profile in zip(found, profiles, strict=True):
        assert tuple(header) == LayerTable.header
        for (path, ms, share, macs, reads, rate, nodes), time in zip(lines, profile["layers"], strict=True):
            layer = time["layer"] or {"macs": 0, "input": None, "fire_rate": None, "input_rate": None}
            expected = layer["input_rate"] if layer["fire_rate"] is None else layer["fire_rate"]
            assert path == time["path"]
            assert float(ms) == pytest.approx(time["ms"], abs=5e-4)
            assert float(share.removesuffix(" %")) == pytest.approx(100 * time["share"], abs=0.05)
            assert macs == (short(layer["macs"]) if layer["macs"] else NONE)
            assert reads == (layer["input"] or NONE)
            assert rate == (NONE if expected is None else f"{expected:.3f}")
            assert nodes == (", ".join(node["name"] for node in time["nodes"]) or NONE)


def test_the_markdown_says_what_the_page_says(folder: Path) -> None:
    assert tables(folder) == page_tables(folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    page = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    for words in (
        LayerTable.about,
        "medians of 30 runs. The nodes of a run together: 0.501 ms (median); a run without the profiler: 0.444 ms.",
        "medians of 30 runs. The nodes of a run together: 0.501 ms (median).",
    ):
        assert words in text
        assert words in page
    assert "### digits\\_b T=4 fp32\n" in text


def test_a_report_without_layers_has_no_such_part(tmp_path: Path) -> None:
    write_report(document(sweep()), tmp_path)
    for name in ("report.md", "report.html"):
        assert LayerTable.title not in (tmp_path / name).read_text(encoding="utf-8")
