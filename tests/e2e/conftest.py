"""One demo and one export in every precision, run once for all end-to-end tests: real processes, whole trainings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tests.operator_table  # noqa: F401 - makes it once
from tests.few_plots import DRAW, few_plots
from tests.made_once import made_once
from tks_edge.cli import app
from tks_edge_runtime.presets import PRESETS

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Finished:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def environment() -> dict[str, str]:
    """What a process needs to find our packages in the checkout."""
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "export", "runtime", "models"))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}


def in_a_process(*arguments: str | Path, cwd: Path) -> Finished:
    """Run `tks-edge` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tks_edge", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment(),
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make this the working directory for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def tks_edge(*arguments: str | Path, cwd: Path) -> Finished:
    """Run `tks-edge` here, where torch is imported already: three seconds less."""
    with working_in(cwd):
        done = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})
    return Finished(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module", autouse=True)
def _short_measurements() -> Iterator[None]:
    """How steady a latency is, is not asked here, nor for plots; the demo, in its processes, measures as it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quick", 0.1)
        patch.setattr(DRAW, few_plots)
        yield


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `tks-edge demo` was run; it holds `demo/`."""

    def run(folder: Path) -> None:
        done = in_a_process("demo", "--output", "demo", "--json", cwd=folder)
        assert done.code == 0, done.err
        assert done.document["report"] == "demo/report/report.html"

    return made_once(tmp_path_factory, "demo", run)


@pytest.fixture(scope="session")
def lowered(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's network in every precision and form, in int8 for every CPU target, and its twin."""
    network, twin, int8 = demo / "demo/runs/digits", demo / "demo/runs/digits-relu", ("--precision", "int8")

    def export(folder: Path) -> None:
        for arguments in (
            (network, "--timesteps", "1,2,4", "--precision", "fp32,fp16,int8", "--form", "static,step"),
            (network, "--timesteps", "8", *int8),
            (network, "--timesteps", "1,2,4,8", *int8, "--form", "static,step", "--target", "onnxruntime-cpu"),
            (network, "--timesteps", "1,2,4,8", *int8, "--target", "openvino"),
            (twin, "--precision", "fp32,int8"),
        ):
            # Few samples: `tks-edge verify` sees each of them again.
            done = tks_edge("export", *arguments, "--verify-samples", "2", "--output", folder, cwd=folder)
            assert done.code == 0, done.err

    return made_once(tmp_path_factory, "lowered", export)
