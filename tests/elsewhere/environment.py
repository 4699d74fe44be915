"""The other libraries, installed beside ours once, in a folder of the environment that the tests run in."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def folder() -> Path:
    """Where they are, for these requirements."""
    return Path(sys.prefix) / f"elsewhere-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"


def install() -> Path:
    """Install them unless they are there; of several processes that ask at once, one does. Returns the folder.

    Where there is no network the tests that need them are skipped, or fail with TKS_EDGE_REQUIRE_LIBRARIES=1.
    """
    wanted = folder()
    with wanted.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if wanted.is_dir():
            return wanted
        half_done = wanted.with_suffix(".partial")
        shutil.rmtree(half_done, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(half_done)]
        done = subprocess.run(
            [*command, "--no-compile", "--requirement", str(REQUIREMENTS)], capture_output=True, text=True
        )
        if done.returncode:
            problem = f"the other libraries cannot be installed: {done.stderr.strip()[-500:]}"
            if os.environ.get("TKS_EDGE_REQUIRE_LIBRARIES"):
                pytest.fail(problem)
            pytest.skip(problem)
        half_done.rename(wanted)
    return wanted
