"""Set-ups that take minutes are made once in a whole run, by the process that comes first; the others wait for it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` fills, one for all processes of pytest-xdist: what is in it is read, and never changed.

    Where `make` fails, its folder is moved out of the way, and whoever waits tries again.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, made = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            if folder.exists():
                folder.rename(factory.mktemp(f"{name}-failed") / name)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
