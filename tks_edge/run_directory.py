"""Which directory a training may write into."""

from __future__ import annotations

import shutil
from pathlib import Path

from tks_edge.checkpoint import CONFIG, HISTORY, LAST, MODEL, SUMMARY
from tks_edge.tensorboard import FOLDER
from tks_edge_runtime.errors import InputError


def refuse_to_overwrite(path: Path, *, overwrite: bool) -> None:
    """Raise InputError where something stands at `path` that a new training must not replace.

    With `overwrite` a run directory may be replaced, and nothing else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise InputError(f"{path} is a file, and a run is a directory. Choose another --output.")
    if not (path / CONFIG).is_file():
        raise InputError(f"{path} holds something that is no run. Choose another --output.")
    if not overwrite:
        raise InputError(
            f"{path} holds a run. Continue it with --resume, replace it with --overwrite, or choose another --output."
        )


def clear(path: Path) -> None:
    """Remove the files of a run from `path`, and nothing else; config.json goes last, so it stays a run until then."""
    shutil.rmtree(path / FOLDER, ignore_errors=True)
    for name in (LAST, MODEL, HISTORY, SUMMARY, CONFIG):
        (path / name).unlink(missing_ok=True)


def free_directory(wanted: Path) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, ... where nothing stands."""
    path, number = wanted, 1
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path
