"""Ctrl-C ends a command with 130 and one line on what is kept, and leaves no half-written file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import environment, tks_edge
from tests.few_plots import DRAW, few_plots
from tests.tks_edge.short_training import short
from tks_edge.trainer import train
from tks_edge_runtime import load
from tks_edge_runtime.artifact import find_artifacts
from tks_edge_runtime.presets import PRESETS

_FEW = ("--threads", "1", "--verify-samples", "2")


def interrupt(*arguments: str, folder: Path, once: Callable[[], bool], kept: str) -> None:
    """Give a command Ctrl-C as a terminal does, to its whole process group, as soon as `once` holds.

    It ends with 130 and, as its last line, an error that says `kept`.
    """
    said = folder / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tks_edge", *arguments],
            cwd=folder,
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        while not once() and process.poll() is None:
            time.sleep(0.02)
        assert process.returncode is None, said.read_text()
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(timeout=120)
    text = said.read_text()
    assert code == 130, text
    assert "Traceback" not in text
    assert text.splitlines()[-1].startswith("error: interrupted; ")
    assert kept in text.splitlines()[-1]
    assert not list(folder.rglob(".*.partial*"))


@pytest.fixture(autouse=True)
def _ctrl_c_counts() -> Iterator[None]:
    """As in a terminal: what a shell starts in its background ignores it, and so does all that this starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained shortly, on all digits, which other processes find again."""
    return train(short(epochs=1, batch_size=64), tmp_path_factory.mktemp("trained") / "digits").path


@pytest.fixture
def run(trained: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`runs/digits` in the working directory; what is not interrupted measures shortly."""
    monkeypatch.setitem(PRESETS, "quick", 0.02)
    monkeypatch.setattr(DRAW, few_plots)
    shutil.copytree(trained, in_folder / "runs/digits")
    return in_folder


def done(*arguments: str, folder: Path) -> str:
    """What a command says that is not interrupted."""
    finished = tks_edge(*arguments, cwd=folder)
    assert finished.code == 0, finished.err
    return finished.out


def whole(folder: Path) -> list[str]:
    """The artifacts in a folder, each of which passes its self-test."""
    for artifact in find_artifacts(folder):
        with load(artifact.path, "onnxruntime", threads=1) as session:
            assert session.self_test().passed
    return [artifact.path.name for artifact in find_artifacts(folder)]


def test_a_demo_goes_on_with_what_is_finished(tmp_path: Path) -> None:
    finished = tmp_path / "demo/runs/digits-relu/model.safetensors"
    interrupt("demo", "--epochs", "50", folder=tmp_path, once=finished.exists, kept="goes on from there")
    assert (tmp_path / "demo/runs/digits-relu/config.json").is_file()


def test_the_artifacts_of_an_export_are_whole(run: Path) -> None:
    first = run / "artifacts/digits-t1-fp32.onnx"
    wanted = ("export", "runs/digits", "--timesteps", "1-8", "--output", "artifacts")
    interrupt(*wanted, folder=run, once=first.exists, kept="the artifacts named above are whole")
    names = whole(run / "artifacts")
    assert names[0] == first.name
    assert len(names) < 8
    assert all(name in (run / "said.txt").read_text() for name in names[:-1])  # the last may just have got its name


def test_a_sweep_goes_on_where_it_stopped(run: Path) -> None:
    first = run / "sweep/artifacts/digits-t1-fp32-onnxruntime-cpu.onnx"
    wanted = ("sweep", "runs/digits", "--timesteps", "1,2", "--output", "sweep", *_FEW)
    interrupt(*wanted, folder=run, once=first.exists, kept="what is exported and measured is kept")
    before = first.stat().st_mtime_ns
    whole(run / "sweep/artifacts")
    assert "digits-t2-fp32-onnxruntime-cpu.onnx" in done(*wanted, folder=run)
    assert first.stat().st_mtime_ns == before


def test_an_older_report_stays_as_it_is(run: Path) -> None:
    few = ("--timesteps", "1", "--verify-samples", "2")
    done("export", "runs/digits", *few, "--output", "artifacts", folder=run)
    older = run / "report/report.json"
    older.parent.mkdir()
    older.write_text("the report of last week")
    wanted = ("report", "artifacts", "--backend", "auto", "--preset", "long", "--json", "--output", "report")

    def measuring() -> bool:
        return "backend: onnxruntime" in (run / "said.txt").read_text()

    interrupt(*wanted, folder=run, once=measuring, kept="what was measured is not kept")
    assert [path.name for path in older.parent.iterdir()] == ["report.json"]
    assert older.read_text() == "the report of last week"
