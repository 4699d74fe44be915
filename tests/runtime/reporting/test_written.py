"""The files of a report: the JSON fits its schema, the three texts agree with it, and no name in it becomes markup."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest

from tests.runtime.reporting.example import (
    HOSTILE,
    RAIL,
    document,
    everything,
    failed,
    on_a_gpu,
    printed,
    row,
    side_by_side,
    sweep,
    trace,
    twin,
)
from tks_edge_runtime.artifact import FORMS
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.reporting.build import FILES, write_report
from tks_edge_runtime.reporting.columns import COLUMNS, columns_of
from tks_edge_runtime.reporting.document import ReportDocument, schema
from tks_edge_runtime.reporting.plots import draw
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.series import series_of
from tks_edge_runtime.reporting.wording import NONE
from tks_edge_runtime.statistics import summarize
from tks_edge_runtime.traces import unpack


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportDocument, Path]:
    folder = tmp_path_factory.mktemp("report") / "made" / "here"
    made = document(everything(), command=f"tks-edge report '{HOSTILE}'", method=(HOSTILE,), machine={"cpu": HOSTILE})
    write_report(made, folder)
    return made, folder


def test_every_file_is_there_and_nothing_else(report: tuple[ReportDocument, Path]) -> None:
    folder = report[1]
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    names = {"accuracy-latency", "accuracy-timesteps", "latency-timesteps", "latency-distribution"}
    assert {path.name for path in (folder / "plots").iterdir()} == {f"{n}.{e}" for n in names for e in ("png", "svg")}


def test_the_json_fits_the_published_schema(report: tuple[ReportDocument, Path]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(json.loads((report[1] / "report.json").read_text(encoding="utf-8")))
    without = report[0].to_dict(traces=False)
    validator.validate(without)
    assert without["rows"][0]["traces"] is None


@pytest.mark.parametrize(("kind", "definition"), [(ReportDocument, None), (Row, "row")])
def test_the_schema_describes_every_field(kind: type, definition: str | None) -> None:
    part = schema() if definition is None else schema()["$defs"][definition]
    assert set(part["properties"]) == {field.name for field in dataclasses.fields(kind)}


def test_a_number_that_json_has_no_word_for_is_null() -> None:
    made = document([row(1, 590, 1.0, cpu_ms=float("nan"))], machine={"clock": float("inf")})
    assert made.to_dict()["rows"][0]["cpu_ms"] is None
    assert made.to_dict()["machine"] == {"clock": None}
    jsonschema.validate(made.to_dict(), schema())


def test_the_raw_trace_is_in_the_json(report: tuple[ReportDocument, Path]) -> None:
    document = json.loads((report[1] / "report.json").read_text(encoding="utf-8"))
    traces = document["rows"][0]["traces"]
    assert list(unpack(traces["e2e"])) == pytest.approx(trace(0.052), rel=5.1e-4)
    assert list(unpack(traces["compute"])) == pytest.approx([0.75 * time for time in trace(0.052)], rel=5.1e-4)
    assert (traces["enqueue"], traces["copies"]) == (None, None)


def test_a_percentile_with_too_few_runs_says_how_many_it_needs(report: tuple[ReportDocument, Path]) -> None:
    assert summarize(trace(0.3, 20)).p90 is None
    for name in ("report.md", "report.html"):
        text = (report[1] / name).read_text(encoding="utf-8")
        assert "n/a (needs 64)" in text
        assert "n/a (needs 6636)" in text


def test_the_markdown_table_is_one_and_holds_every_row(report: tuple[ReportDocument, Path]) -> None:
    text = (report[1] / "report.md").read_text(encoding="utf-8")
    table = text.split("## Every artifact\n\n")[1].split("\n\n")[0].splitlines()
    assert len(table) == 2 + len(report[0].rows)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {len(columns_of(report[0].rows)) + 1}
    assert "98.16 (96.73" in table[3]
    assert "FAILED" in text
    assert "UNSTABLE" in text


def test_the_tables_show_how_the_runs_spread_and_how_many_samples_a_second_pass() -> None:
    made = row(2, 590, 2.0, batch_size=4)
    assert made.latency is not None
    shown = {column.header: column.cell(made) for column in COLUMNS}
    assert shown["IQR ms"] == f"{made.latency.iqr:.4f}"[: len(shown["IQR ms"])]
    assert shown["CV %"] == f"{100 * made.latency.cv:.1f}"
    assert float(shown["samples/s"].replace(" ", "")) == pytest.approx(4000 / made.latency.mean, rel=5e-3)
    assert {column.cell(failed(2)) for column in COLUMNS if column.header in ("IQR ms", "CV %", "samples/s")} == {NONE}


def test_a_form_or_a_target_has_a_column_where_there_is_more_than_the_usual_one(tmp_path: Path) -> None:
    assert "graph" not in {column.key for column in columns_of(sweep())}
    made = document(side_by_side())
    write_report(made, tmp_path)
    cells = [line.split(" | ")[4] for line in (tmp_path / "report.md").read_text().splitlines() if "| digits" in line]
    assert cells == [{"step": "step"}.get(row.form, row.target.replace("generic", "static")) for row in made.rows]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'data-key="graph">([^<]*)<', page) == cells
    text = printed(made, 80)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert re.search(r"digits +8 +fp32 +step +98\.66 +0\.423 +8\.6", text)
    assert re.search(r"digits +8 +fp32 +step +98\.66 \(97\.38.99\.32\) +0\.423 +8\.6", printed(made, 90))
    assert re.search(r"digits +2 +int8 +onnxruntime-cpu +97\.49", text)
    jsonschema.validate(made.to_dict(), schema())


def test_no_name_becomes_markup(report: tuple[ReportDocument, Path]) -> None:
    page = (report[1] / "report.html").read_text(encoding="utf-8")
    assert page.lower().count("<script") == page.lower().count("</script") == 1
    assert "&lt;script&gt;" in page
    text = (report[1] / "report.md").read_text(encoding="utf-8")
    outside_code = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert "<script" not in outside_code
    assert "**b**" not in outside_code


def test_the_page_fetches_nothing_and_forbids_fetching(report: tuple[ReportDocument, Path]) -> None:
    page = (report[1] / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"<(link|img|iframe|object|embed|base|form)\b|@import|url\((?!#)", page)
    assert not re.search(r'(?:src|href)="(?!#)', page)


def test_the_policy_allows_the_one_script_of_the_page_by_its_hash(report: tuple[ReportDocument, Path]) -> None:
    page = (report[1] / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.findall(r"script-src ([^;]*);", page) == [f"'sha256-{digest}'"]


def test_the_ids_of_the_page_are_unique_and_every_reference_has_its_target(report: tuple[ReportDocument, Path]) -> None:
    page = (report[1] / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r'<[^<>]* id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)|aria-labelledby="([^"]*)"', page)
    assert {name for groups in references for name in groups if name} <= set(ids)


def test_the_plots_are_whole_and_the_same_each_time(report: tuple[ReportDocument, Path]) -> None:
    again = draw(report[0])
    for plot in again:
        ElementTree.fromstring(plot.svg)  # noqa: S314 - made a line above
        assert (report[1] / "plots" / f"{plot.name}.svg").read_text(encoding="utf-8") == plot.svg
        assert plot.png.startswith(b"\x89PNG")
        assert plot.title in plot.description
        assert "#0072b2" not in plot.inline
        assert "var(--ink)" in plot.inline


def test_no_two_series_are_drawn_alike() -> None:
    names, forms, targets = [f"network {index}" for index in range(3)], FORMS, ("generic", "openvino")
    kinds = [(n, p, f, t) for n in names for p in ("fp32", "int8") for f in forms for t in targets]
    rows = [row(2, 586, 1.0, name=n, precision=p, form=f, target=t) for n, p, f, t in kinds]
    rows += [twin(590, 1.0, precision=p) for p in ("fp32", "fp16", "int8")]
    series = list(series_of(rows))
    assert len(series) == len(rows)
    assert len({(one.colour, one.marker) for one in series}) == len({one.label for one in series}) == len(series)
    assert len({(one.colour, one.line) for one in series if one.is_twin}) == 3
    networks = [row(2, 586, 1.0, name=f"network {index}") for index in range(20)]
    assert len({(one.colour, one.marker) for one in series_of(networks)}) == 20


def test_names_in_a_script_that_the_font_lacks_are_drawn_without_a_warning() -> None:
    assert draw(document([row(2, 586, 1.0, name="数字"), row(8, 586, 4.0, name="数字"), twin(580, 0.5, name="_数")]))


def test_rows_without_accuracy_leave_out_the_plots_of_it() -> None:
    assert [plot.name for plot in draw(document([row(1, None, 1.0)]))] == ["latency-distribution"]
    assert draw(document([failed(2)])) == ()


def test_a_report_of_failed_rows_only_is_still_written(tmp_path: Path) -> None:
    write_report(document([failed(1), failed(2)]), tmp_path)
    assert "2 of 2 artifacts failed" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_folder_in_the_way_of_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html"):
        write_report(document(sweep()), tmp_path)


def test_compute_and_end_to_end_are_two_columns_and_energy_names_its_source(tmp_path: Path) -> None:
    made = document(on_a_gpu())
    jsonschema.validate(made.to_dict(), schema())
    write_report(made, tmp_path)
    headers = {column.header for column in columns_of(made.rows)}
    assert {"e2e p50 ms", "compute p50 ms", "enqueue p50 ms", "copies p50 ms"} < headers
    assert {"device", "CUDA graph", "build ms", f"mJ ({RAIL})"} < headers
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'data-key="cuda_graph">([^<]*)<', page) == ["off"] * 4 + ["on"] * 4
    assert re.findall(r'data-key="energy-0"[^>]*>([^<]*)<', page)[:2] == ["1.05 ±0.100", "2.00 ±0.100"]
    assert page.count("<dt>digits-t2-fp32.onnx</dt>") == 1
    assert f"mJ ({RAIL})" in (tmp_path / "report.md").read_text(encoding="utf-8").replace("\\_", "_")
    on_a_cpu = [column for column in columns_of(sweep()) if column.header == "energy mJ"]
    assert [column.cell(sweep()[0]) for column in on_a_cpu] == [NONE]
    assert not {"enqueue", "copies", "device", "cuda_graph", "build"} & {column.key for column in columns_of(sweep())}


def test_an_unstable_row_is_marked_in_everything_that_shows_it(report: tuple[ReportDocument, Path]) -> None:
    made, folder = report
    words = "UNSTABLE: the machine was throttled or slowed down while 1 of 9 rows were measured"
    assert words in " ".join(printed(made, 80).split())
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "unknown-t4-fp32.onnx" in text.split(words)[1][:100]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.index(words) < page.index("<h1")
    unstable = [*sweep()[:3], row(8, 589, 0.4, unstable=True), twin(590, 0.05)]
    for plot in draw(document(unstable)):
        assert "digits T=8 fp32: 98.66 %, 0.4 ms, UNSTABLE" in plot.description
        assert "UNSTABLE" in plot.inline, plot.name
    assert all("UNSTABLE" not in plot.inline for plot in draw(document(sweep())))
