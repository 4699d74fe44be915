"""What the texts say is so: tables are the code's, options exist, links lead somewhere, and the Python in them runs."""

from __future__ import annotations

import ast
import functools
import io
import re
import runpy
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from tests.e2e.conftest import ROOT, working_in
from tks_edge.cli import app
from tks_edge_export import TARGETS
from tks_edge_export.passes import LAYOUT, PASSES

TEXTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
REWRITES = ROOT / "export/tks_edge_export/passes"
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(text: str, header: str) -> list[list[str]]:
    """The cells of the table under this header row."""
    lines = text[text.index(header) :].splitlines()[2:]
    rows = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def fenced(name: str) -> list[tuple[str, str]]:
    """The blocks of a text, in their order: language and content."""
    return re.findall(r"^```(\w*)\n(.*?)^```", read(name), re.DOTALL | re.MULTILINE)


def blocks(name: str, language: str) -> list[str]:
    return [content for found, content in fenced(name) if found == language]


def reasons(path: Path) -> Iterator[str]:
    """The reasons to refuse that the file of a pass returns."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if function.name == "refusal":
            for node in ast.walk(function):
                if isinstance(node, ast.Return):
                    yield from (
                        c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)
                    )


def test_the_table_of_passes_is_that_of_the_exporter() -> None:
    rows = table(read("docs/export.md"), "| pass | what it does | where it is refused |")
    assert tuple(row[0].strip("`") for row in rows) == PASSES
    for name, _, refused in rows:
        path = REWRITES / f"{name.strip('`')}.py"
        found = list(reasons(path)) if path.is_file() else []
        if found:
            assert refused == "; ".join(found), name
    assert set(LAYOUT) < set(PASSES)


def test_the_table_of_targets_is_that_of_the_exporter() -> None:
    rows = table(read("docs/export.md"), "| `--target` | what is different |")
    assert [row[0].strip("`") for row in rows] == list(TARGETS)


@functools.cache
def options(*commands: str) -> set[str]:
    """The options of these commands, by their help; of the program itself without a command."""
    helps = [CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "300"}) for command in commands]
    return {option for help_ in helps for option in re.findall(r"^│ .*?(--[a-z-]+)", help_.stdout, re.MULTILINE)} | {
        option for help_ in helps for option in re.findall(r" (--(?:no-)[a-z-]+)", help_.stdout)
    }


@functools.cache
def options_of_benchmarks() -> set[str]:
    found = (re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text(encoding="utf-8")) for path in BENCHMARKS)
    return {option for each in found for option in each}


@functools.cache
def options_of_torchrun() -> set[str]:
    from torch.distributed.run import get_args_parser

    return {name.replace("_", "-") for action in get_args_parser()._actions for name in action.option_strings}


def commands() -> list[str]:
    found = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    return [name.replace("_", "-") for name in found]


def test_every_option_of_export_is_explained() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in TEXTS)
    by_help_alone = {"--data", "--device", "--eval-samples", "--verify-samples", "--eval-set"}
    assert {option for option in options("export") - by_help_alone if option not in text} == set()
    assert {"--precision", "--skip-pass", "--no-eval-set"} < options("export")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_options_in_the_texts_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    parts = (part for _, part in fenced(str(path.relative_to(ROOT))))
    lines = [line for part in parts for line in part.replace("\\\n", " ").splitlines()]
    code = [line for line in lines if "tks-edge" in line or "benchmarks." in line] + re.findall(r"`([^`\n]+)`", text)
    used = {option for part in code for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", part)}
    of_others = options_of_benchmarks() | options_of_torchrun() | {"--help", "--system-site-packages"}
    assert used <= options("", *commands()) | of_others


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, fragment = unquote(link).partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), link
        if fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), link


def ran(program: Path, folder: Path) -> list[str]:
    """What a program writes that is started in this folder; here, where torch is imported already."""
    written = io.StringIO()
    with working_in(folder), redirect_stdout(written):
        runpy.run_path(str(program), run_name="__main__")
    return written.getvalue().splitlines()


def saved(block: str, folder: Path) -> Path:
    """A block of a text as a file."""
    (folder / "block.py").write_text(block, encoding="utf-8")
    return folder / "block.py"


@pytest.mark.parametrize(("text", "example"), [("export", "own_module"), ("streaming", "stream_events")])
def test_an_example_in_a_text_is_the_whole_file(text: str, example: str) -> None:
    assert read(f"examples/{example}.py") in blocks(f"docs/{text}.md", "python")


def test_a_network_of_ones_own_is_exported_verified_and_run(tmp_path: Path) -> None:
    lines = ran(ROOT / "examples/own_module.py", tmp_path)
    for written, result in (lines[:2], lines[2:]):
        assert re.fullmatch(r"artifacts/wavenetwork-t2-\w+\.onnx: 1,048,576 spikes compared, \d+ differ", written)
        assert float(result.partition("%")[0]) >= 95, result
    assert {path.name for path in (tmp_path / "artifacts").glob("*.onnx")} == {
        "wavenetwork-t2-fp32.onnx",
        "wavenetwork-t2-int8.onnx",
    }


def test_a_neuron_of_ones_own_is_exported_verified_and_run(tmp_path: Path) -> None:
    lines = ran(ROOT / "examples/own_neuron.py", tmp_path)
    for form, (written, result) in (("t2", lines[:2]), ("step", lines[2:])):
        assert re.fullmatch(rf"artifacts/tired-{form}-fp32\.onnx: [\d,]+ spikes compared, 0 differ", written)
        assert float(result.partition("%")[0]) >= 85, result


def test_event_frames_are_streamed(tmp_path: Path) -> None:
    lines = ran(ROOT / "examples/stream_events.py", tmp_path)
    assert lines[0].startswith("artifacts/events-step-fp32.onnx: 30,720 spikes compared")
    assert lines[1:3] == ["state.1 float32[1, 8, 16, 16]", "state.3 float32[1, 16, 8, 8]"]
    assert len([line for line in lines if line.startswith("step ")]) == 10
    assert lines[-1] == "at rest again, after 0 steps"


def test_the_python_of_the_api_runs(tmp_path: Path) -> None:
    (block,) = blocks("docs/api.md", "python")
    lines = ran(saved(block, tmp_path), tmp_path)
    assert re.fullmatch(r"T=4: \d+ of 597 right", lines[1])
    assert lines[2].startswith("artifacts/digits-t1-fp32.onnx: ")
    assert lines[4] == "597 of 597 predicted as by the network"
    assert lines[-1].startswith("Ship ")
    assert (tmp_path / "report/report.html").is_file()


def test_the_python_of_the_readme_runs(demo: Path, tmp_path: Path) -> None:
    (block,) = blocks("README.md", "python")
    (tmp_path / "runs").symlink_to(demo / "demo/runs")
    lines = ran(saved(block, tmp_path), tmp_path)
    assert len(lines) == 4
    assert "spikes compared" in lines[0]
    assert (tmp_path / "artifacts/digits-t2-int8.onnx").is_file()


def test_stopping_when_sure_saves_steps_and_no_accuracy(lowered: Path, tmp_path: Path) -> None:
    (block,) = (block for block in blocks("docs/streaming.md", "python") if "digits-step-fp32" in block)
    (tmp_path / "artifacts").symlink_to(lowered)
    (line,) = ran(saved(block, tmp_path), tmp_path)
    right, total, steps = re.fullmatch(r"(\d+) of (\d+) right in ([\d.]+) steps on average", line).groups()  # type: ignore[union-attr]
    assert int(total) == 597
    assert int(right) >= 0.98 * int(total)
    assert float(steps) < 2
