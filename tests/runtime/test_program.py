"""The program as people expect it: versions, wrong use in one line, colours, and what a shell completes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import Build
from tks_edge_runtime import cli, completion, presets, versions
from tks_edge_runtime.backends import BACKENDS
from tks_edge_runtime.errors import did_you_mean
from tks_edge_runtime.reporting import bounds, compare

_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d(?:;\d+)*m")


def test_the_version_names_what_matters_after_a_line_of_its_own() -> None:
    first, *others = invoke("--version").stdout.splitlines()
    assert first.split()[0] == "tks-edge-runtime"
    assert {line.split()[0] for line in others} >= {"Python", "platform", "numpy", "onnxruntime", "providers"}
    found = document(invoke("--version", "--json"))
    assert found["version"] == first.split()[1]
    assert found["versions"] == versions.versions(versions.LIBRARIES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("proflie",), "unknown command 'proflie'. Did you mean 'profile'?"),
        (("--verison",), "unknown option '--verison'. Did you mean '--version'?"),
        (("report", "x", "--presset", "quick"), "unknown option '--presset'. Did you mean '--preset'?"),
        (("report",), "missing argument 'FOLDER'"),
        (("report", "x", "--threads", "two"), "invalid value for '--threads'"),
        (("--json", "doctor"), "--json before a command"),
        (("pick", "x", "--percentile", "p9"), "unknown percentile 'p9'. Did you mean 'p9"),
        (("pick", "x", "--prefer", "acuracy"), "Did you mean 'accuracy'?"),
    ],
)
def test_wrong_use_is_one_line_with_the_nearest_name(arguments: tuple[str, ...], said: str) -> None:
    result = invoke(*arguments)
    fails(result, 2, said)
    assert len(result.stderr.splitlines()) == 1


def test_a_path_that_is_not_there_names_the_nearest(build: Build, tmp_path: Path) -> None:
    path = build().path
    fails(invoke("info", path.with_name("smal-t2-fp32.onnx")), 2, f"Did you mean '{path}'?")
    fails(invoke("report", tmp_path / "artefacts"), 2, f"Did you mean '{path.parent}'?")


def test_what_is_far_from_every_name_suggests_none() -> None:
    assert did_you_mean("qqq", ("alpha", "beta")) == ""


def test_the_names_of_the_completion_are_those_that_there_are() -> None:
    assert tuple(BACKENDS) == completion.BACKENDS
    assert {device for one in BACKENDS.values() for device in one.devices} == set(completion.BACKEND_DEVICES)
    assert tuple(presets.PRESETS) == completion.PRESETS
    assert (bounds.PERCENTILES, bounds.PREFERENCES) == (completion.PERCENTILES, completion.PREFERENCES)
    assert tuple(compare.ASPECTS) == completion.ASPECTS


def test_files_and_folders_of_ours_are_found_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo/artifacts/a.onnx", "demo/artifacts/.b.onnx", "demo/report/report.json", "c.onnx", "notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert completion.artifact("") == ["c.onnx", "demo/artifacts/a.onnx"]
    assert completion.artifact("demo/a") == ["demo/artifacts/a.onnx"]
    assert completion.artifact_folder("") == ["demo/artifacts"]
    assert completion.report("demo/") == ["demo/report"]
    assert completion.artifact("none/") == []
    assert completion.precisions("fp32,") == ["fp32,fp16", "fp32,int8"]


def program(**variables: str) -> dict[str, str]:
    folder = str(Path(cli.__file__).parents[1])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": folder, "TERM": "xterm", "COLUMNS": "100", **variables}


def on_terminal(*arguments: str, **variables: str) -> str:
    """What the program writes where both its outputs are a terminal."""
    ours, its = pty.openpty()
    chunks: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while chunk := os.read(ours, 1 << 16):
                chunks.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with pytest.MonkeyPatch.context() as patch, open(its, "w", encoding="utf-8") as terminal:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm", "COLUMNS": "100", **variables}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdout", terminal)
        patch.setattr(sys, "stderr", terminal)
        with pytest.raises(SystemExit):
            cli.app(arguments, prog_name="tks-edge-runtime")
    reader.join()
    os.close(ours)
    return b"".join(chunks).decode()


@pytest.mark.parametrize("arguments", [("--help",), ("nonsense",)])
def test_colours_are_for_terminals_that_want_them(arguments: tuple[str, ...]) -> None:
    assert _COLOUR.search(on_terminal(*arguments))
    assert not _COLOUR.search(on_terminal(*arguments, NO_COLOR="1"))
    assert "\x1b" not in on_terminal(*arguments, TERM="dumb")


def test_a_bar_appears_on_a_terminal_and_nowhere_else(build: Build) -> None:
    folder = str(build().path.parent)
    seen = on_terminal("self-test", folder)
    assert "testing the artifacts" in seen
    assert "\x1b[?25h" in seen  # the cursor is shown again
    assert "testing the artifacts" not in on_terminal("self-test", folder, TERM="dumb")
    assert "\x1b" not in invoke("self-test", folder).output
    # FORCE_COLOR is read when the libraries are imported: a process of its own.
    command = [sys.executable, "-m", "tks_edge_runtime", "self-test", folder, "--json"]
    piped = subprocess.run(command, capture_output=True, text=True, env=program(FORCE_COLOR="1"), check=True)
    assert json.loads(piped.stdout)["folder"] == folder
    assert "testing the artifacts" not in piped.stderr
    assert "\x1b[?25" not in piped.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_the_values_of_an_option(shell: str) -> None:
    line = "tks-edge-runtime report x --preset st"
    asked = {
        "_TKS_EDGE_RUNTIME_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": "4",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = CliRunner().invoke(cli.app, [], env=asked, prog_name="tks-edge-runtime")
    assert "standard" in done.stdout
    assert "quick" not in done.stdout


def test_the_names_of_installed_plugins_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "example-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[tks_edge.backends]\nopenish = is_not_there:AT_ALL\n")
    assert completion.backend("open") == ["openvino"]
    monkeypatch.syspath_prepend(str(tmp_path))
    assert completion.backend("open") == ["openvino", "openish"]
    assert completion.backends("openvino,o") == ["openvino,onnxruntime", "openvino,openish"]
