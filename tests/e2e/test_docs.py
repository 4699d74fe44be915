"""The pages a new user reads: each command and program is run or says why not, pictures and messages are the code's."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from tests.e2e.conftest import ROOT, tks_edge, working_in
from tests.e2e.test_texts import TEXTS, blocks, fenced, ran, read, saved
from tks_edge.cli import app
from tks_edge_runtime.cli import app as runtime

DOCS = ROOT / "docs"
PACKAGES = ("tks_edge", "export/tks_edge_export", "runtime/tks_edge_runtime", "models/tks_edge_models")


def messages() -> Iterator[str]:
    """Every text in the source but docstrings, with … for what is filled in."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    yield node.value


def is_in(quoted: str, message: str) -> bool:
    """Whether the parts of a quoted message, between its …, stand in this order in this one."""
    parts = filter(None, (part.strip(" .:") for part in quoted.split("…")))
    return re.search(".*".join(map(re.escape, parts)), message, re.DOTALL) is not None


def test_every_message_that_troubleshooting_quotes_is_in_the_source() -> None:
    quoted = re.findall(r"^\| `([^`]+)` \|", read("docs/troubleshooting.md"), re.MULTILINE)
    assert len(quoted) >= 40
    source = list(messages())
    assert [each for each in quoted if not any(is_in(each, message) for message in source)] == []


def drawn(path: Path) -> set[str]:
    """The boxes and arrows of a picture."""
    return set(re.findall(r'id="((?:box|arrow) [^"]+)"', path.read_text(encoding="utf-8")))


def test_the_pictures_show_what_is_exported(tmp_path: Path) -> None:
    (command,) = blocks("docs/unrolling.md", "bash")
    program = runpy.run_path(str(ROOT / shlex.split(command)[1]))
    program["main"](tmp_path)
    committed = {path.name: drawn(path) for path in (DOCS / "unrolling").glob("*.svg")}
    assert {path.name: drawn(path) for path in tmp_path.glob("*.svg")} == committed
    assert all(f"(unrolling/{name})" in read("docs/unrolling.md") for name in committed)
    assert "box fire1.t1.h" in committed["t2.svg"]


SHORTER = {
    " --output runs/digits": " --epochs 1 --output runs/digits",
    "fp32,int8": "fp32",
    "--min-accuracy 97": "--min-accuracy 10",
}
"""What takes long, and what then does not hold: a network of one epoch reads few digits."""


def test_starting_here_works_command_by_command(tmp_path: Path) -> None:
    install, *rest = (block for block in fenced("docs/start.md") if block[0] in ("bash", "python"))
    assert "pip install" in install[1]  # test_packaging.py installs
    done = []
    for language, text in rest:
        if language == "python":
            ran(saved(text, tmp_path), tmp_path)
            continue
        for command in text.splitlines():
            line = command
            for as_written, shorter in SHORTER.items():
                line = line.replace(as_written, shorter)
            arguments = shlex.split(line)
            assert arguments[0] == "tks-edge"
            ended = tks_edge(*arguments[1:], cwd=tmp_path)
            assert ended.code == 0, (line, ended.err)
            done.append(arguments[1])
    assert done == ["train", "train", "eval", "export", "run", "sweep", "pick"]
    assert (tmp_path / "sweep/report.html").is_file()


RUN_ELSEWHERE = {
    "README.md": "test_texts.py",
    "docs/api.md": "test_texts.py",
    "docs/export.md": "test_texts.py",
    "docs/streaming.md": "test_texts.py",
    "docs/early_exit.md": "test_docs.py",
    "docs/import.md": "test_docs_of_import.py",
    "docs/start.md": "test_docs.py",
}
"""Which test runs the Python of a page."""


def test_the_python_of_every_page_is_run() -> None:
    pages = {str(path.relative_to(ROOT)) for path in TEXTS if blocks(str(path.relative_to(ROOT)), "python")}
    assert pages == set(RUN_ELSEWHERE)


def commands(page: str) -> Iterator[str]:
    """The commands of tks-edge in the code of a page, without comments."""
    for language, text in fenced(page):
        if language not in ("", "bash", "sh", "console"):
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if line.startswith(("tks-edge ", "tks-edge-runtime ")):
                yield shlex.join(shlex.split(line, comments=True))


PAGES = [str(path.relative_to(ROOT)) for path in TEXTS]
WRITTEN = {command for page in PAGES for command in commands(page)}

RUN = (
    "tks-edge recipes",
    "tks-edge recipes cifar100",
    "tks-edge doctor",
    "tks-edge eval runs/digits --timesteps 1,2,4,8",
    "tks-edge verify artifacts/digits-t2-int8.onnx --against runs/digits",
    "tks-edge run artifacts/digits-t2-fp32.onnx seven.png",
    "tks-edge calibrate-exit artifacts/digits-step-fp32.onnx --run runs/digits",
    "tks-edge profile artifacts/digits-step-fp32.onnx --early-exit",
    "tks-edge export runs/digits --format nir --output artifacts",
    "tks-edge-runtime doctor",
)
"""Commands of the texts that are run here, to the letter and in this order, on what the demo left."""

NOT_RUN = {
    " (deploy|bundle) ": "a board, or wheels from a network; tests/tks_edge/deploy does both with what is here",
    "-runtime build|--backend tensorrt|--format trt": "TensorRT and a GPU",
    "PATH|--download": "data of your own, or a download; test_recipes.py trains on small ones of each kind",
    " stripes |runs/stripes|stripes-t2": "the plugin is not installed here; test_plugins.py installs it and runs these",
    "^tks-edge (import|finetune) ": "files of other libraries; test_docs_of_import.py writes them and runs these",
    " compare ": "reports of several machines; tests/runtime/reporting compares two",
    "^tks-edge train ": "minutes: 15 epochs; the demo trains both networks so, start.md with fewer",
    "^tks-edge export ": "minutes: many graphs; the fixture `lowered` exports each kind",
    " sweep ": "minutes: many rows; start.md sweeps fewer",
    " pick ": "of that sweep; start.md picks of its own",
    "(?<!-runtime) report |-runtime self-test": "the demo reports; test_self_test.py tests a folder",
    "--per-layer": "test_chain.py and tests/runtime/test_profile_command.py time layers",
}
"""Which commands are not run as they stand, and why."""


def test_every_command_is_run_or_says_why_not() -> None:
    run = {*RUN, *commands("docs/start.md")}
    assert set(RUN) <= WRITTEN
    left = {command for command in WRITTEN - run if not any(re.search(pattern, command) for pattern in NOT_RUN)}
    assert left == set()
    for pattern in NOT_RUN:
        assert any(re.search(pattern, command) for command in WRITTEN - run), pattern


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_understood(page: str) -> None:
    """Names of commands and options, how many arguments, and of which type: also where a command is not run."""
    for command in commands(page):
        program, *arguments = shlex.split(command)
        group = get_command(app if program == "tks-edge" else runtime)
        assert isinstance(group, TyperGroup)
        verb = group.commands[arguments[0]]
        with verb.make_context(arguments[0], arguments[1:]):
            pass


def test_commands_of_the_texts_run_on_what_the_demo_left(demo: Path, lowered: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(demo / "demo/runs")
    (tmp_path / "artifacts").mkdir()
    for path in lowered.iterdir():
        (tmp_path / "artifacts" / path.name).symlink_to(path)
    (picture,) = blocks("docs/start.md", "python")
    ran(saved(picture, tmp_path), tmp_path)
    for command in RUN:
        program, *arguments = shlex.split(command)
        with working_in(tmp_path):
            ended = CliRunner().invoke(app if program == "tks-edge" else runtime, arguments)
        assert ended.exit_code == 0, (command, ended.output)
    (block,) = blocks("docs/early_exit.md", "python")
    (line,) = ran(saved(block, tmp_path), tmp_path)
    assert re.fullmatch(r"\d+ of 597 right in \d\.\d\d steps on average", line)
