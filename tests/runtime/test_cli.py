"""The command line of a board as a whole: its help, how it ends, and as a program."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer import Typer

from tests.runtime.command_line import fails, invoke
from tests.runtime.conftest import Build
from tks_edge_runtime import cli
from tks_edge_runtime.backends import BACKENDS
from tks_edge_runtime.commands import options
from tks_edge_runtime.presets import PRESETS
from tks_edge_runtime.session import DEFAULT_BACKEND
from tks_edge_runtime.version import __version__


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for command in ("build", "run", "profile", "report", "compare", "info", "doctor"):
        assert f" {command} " in result.stdout


@pytest.mark.parametrize("command", ["build", "run", "profile", "compare", "info", "doctor"])
def test_every_command_has_json_and_debug(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "--debug" in result.stdout


def test_the_version_is_printed() -> None:
    assert invoke("--version").stdout.splitlines()[0] == f"tks-edge-runtime {__version__}"


def test_another_app_gets_the_verbs_that_need_no_torch() -> None:
    app = Typer()
    cli.register(app)
    names = {info.callback.__name__ for info in app.registered_commands if info.callback is not None}
    assert names == {"build", "run", "profile", "report", "compare", "pick", "doctor"}


def test_the_help_of_options_says_what_is_there() -> None:
    assert options.DEFAULT_BACKEND == DEFAULT_BACKEND
    text = " ".join(invoke("profile", "--help").stdout.replace("│", " ").split())
    assert all(f"{name} {seconds:g} s" in text for name, seconds in PRESETS.items())
    *first, last = BACKENDS
    assert f"What runs the graph: {', '.join(first)} or {last}; auto chooses" in text
    for name in {device for backend in BACKENDS.values() for device in backend.devices}:
        assert re.search(rf"Where it computes: .*\b{name}\b", text)


def test_wrong_use_ends_with_2(build: Build, image: Path, tmp_path: Path) -> None:
    path = build().path
    (tmp_path / "no.png").write_text("no image")
    fails(invoke("info", tmp_path / "none.onnx"), 2, "none.onnx", "No such file")
    fails(invoke("info", image), 2, "is not an .onnx file")
    fails(invoke("run", path, tmp_path / "no.png"), 2, "no.png is not an image")
    fails(invoke("run", path, tmp_path / "none.png"), 2, "none.png", "No such file")
    fails(invoke("run", path, image, "--top-k", "0"), 2, "top_k is 0")
    fails(invoke("run", path, image, "--backend", "onnx"), 2, "unknown backend 'onnx'. Did you mean 'onnxruntime'?")
    fails(
        invoke("run", path, image, "--backend", "openvin"), 2, "'openvino'? Allowed: onnxruntime, openvino, tensorrt."
    )
    fails(invoke("run", path, image, "--threads", "0"), 2, "threads is 0")
    fails(invoke("profile", path, "--preset", "fast"), 2, "unknown preset 'fast'", "long, mlperf, quick, standard")
    assert invoke("run").exit_code == 2
    assert invoke("nonsense").exit_code == 2


def test_a_fault_of_ours_ends_with_1_and_debug_shows_where(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("tks_edge_runtime.artifact.Artifact.open", fault)
    path = build().path
    fails(invoke("info", path), 1, "ZeroDivisionError: by zero", "--debug")
    assert "Traceback" in invoke("info", path, "--debug").stderr


def test_an_interrupt_ends_with_130(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tks_edge_runtime.artifact.Artifact.open", interrupt)
    fails(invoke("info", build().path), 130, "interrupted")


def test_the_program_runs_as_a_module_and_names_itself(build: Build) -> None:
    path = build().path
    command = [sys.executable, "-m", "tks_edge_runtime", "info", str(path)]
    folders = [str(Path(cli.__file__).parents[1])]
    environment = {"PYTHONPATH": ":".join(folders), "COLUMNS": "200"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith(f"next: tks-edge-runtime profile {path}\n")
    result = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment, check=False)
    assert json.loads(result.stdout)["path"] == str(path)
    assert "next: tks-edge-runtime profile" in result.stderr
