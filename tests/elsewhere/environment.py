"""The libraries that networks come from, for tests: installed once, beside the environment that runs the tests.

They are not among the dependencies: each pins or pulls in what tks-edge does not want, and none is needed to run it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
PINS = (
    "spikingjelly==2.0.0",
    "snntorch==1.0.0",
    "norse==1.1.0",
    "sinabs==3.1.3",
    "nirtorch==2.6",
    "loguru==0.7.3",
    "pbr==7.0.3",
)


def folder() -> Path:
    """The folder that holds them, to be put on `sys.path` behind everything else."""
    name = hashlib.sha256("\n".join((*PINS, sys.version)).encode()).hexdigest()[:12]
    place = _ROOT / ".venv" / f"elsewhere-{name}"
    place.parent.mkdir(exist_ok=True)
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            unfinished = place.with_name(f"{place.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _install(unfinished)
            unfinished.rename(place)
    return place


def _install(target: Path) -> None:
    """Without their dependencies: what they need is in the environment of the tests."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, "--no-build-isolation", *PINS], check=True)
