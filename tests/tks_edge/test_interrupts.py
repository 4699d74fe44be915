"""Ctrl-C ends a command with 130 and one line on what is kept, and leaves no half-written file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tks_edge import cli

_ROOT = Path(cli.__file__).parents[1]


def interrupted(*arguments: str, folder: Path, once: str) -> tuple[int, str, str]:
    """A command in a process group of its own, which gets Ctrl-C as on a terminal once `once` lies in its folder."""
    command = [sys.executable, "-m", "tks_edge", *arguments]
    environment = {
        **os.environ,
        "PYTHONPATH": ":".join(str(_ROOT / name) for name in ("", "export", "runtime", "models")),
    }
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(folder.glob(once)) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("arguments", "once", "kept"),
    [
        (("demo", "--epochs", "50"), "demo/runs/digits-relu/model.safetensors", "the same command goes on from there"),
    ],
)
def test_ctrl_c_says_what_is_kept(arguments: tuple[str, ...], once: str, kept: str, tmp_path: Path) -> None:
    code, _, err = interrupted(*arguments, folder=tmp_path, once=once)
    assert code == 130, err
    assert err.splitlines()[-1].startswith("error: interrupted; ")
    assert kept in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(tmp_path.rglob(".*.partial*"))
    assert (tmp_path / "demo/runs/digits-relu/config.json").is_file()
