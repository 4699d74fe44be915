"""One demo and one export in every precision, run once for all end-to-end tests: real processes, whole trainings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tks_edge.cli import app

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


def tks_edge(*arguments: str | Path, cwd: Path) -> Finished:
    """Run `tks-edge` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tks_edge", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment(),
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def in_process(*arguments: str | Path) -> Finished:
    """Run `tks-edge` here, where torch is imported already; paths are absolute."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})
    return Finished(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `tks-edge demo` was run; it holds `demo/`."""
    folder = tmp_path_factory.mktemp("demo")
    done = tks_edge("demo", "--output", "demo", "--json", cwd=folder)
    assert done.code == 0, done.err
    assert done.document["report"] == "demo/report/report.html"
    return folder


@pytest.fixture(scope="session")
def lowered(demo: Path) -> Path:
    """A folder with the demo's network in every precision and form, in int8 for every CPU target, and its twin."""
    network, twin, int8 = "demo/runs/digits", "demo/runs/digits-relu", ("--precision", "int8")
    for arguments in (
        (network, "--timesteps", "1,2,4", "--precision", "fp32,fp16,int8", "--form", "static,step"),
        (network, "--timesteps", "8", *int8),
        (network, "--timesteps", "1,2,4,8", *int8, "--form", "static,step", "--target", "onnxruntime-cpu"),
        (network, "--timesteps", "1,2,4,8", *int8, "--target", "openvino"),
        (twin, "--precision", "fp32,int8"),
    ):
        done = tks_edge("export", *arguments, "--output", "lowered", cwd=demo)
        assert done.code == 0, done.err
    return demo / "lowered"
