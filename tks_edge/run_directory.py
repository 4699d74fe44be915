"""Which directory a training or an import may write into, and how it takes it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tks_edge.checkpoint import CONFIG, HISTORY, LAST, MODEL, NORMS, SUMMARY, RunConfig
from tks_edge.runs import is_run
from tks_edge.tensorboard import FOLDER as TENSORBOARD
from tks_edge_runtime.errors import InputError, TksEdgeError


class DirectoryInUseError(InputError):
    """Something stands where a training would go; another one may have begun there just now."""


def refuse_to_overwrite(path: Path, *, overwrite: bool) -> None:
    """Raise DirectoryInUseError where something stands at `path` that a new training must not replace.

    With `overwrite` a run directory may be replaced, and nothing else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise DirectoryInUseError(f"{path} is a file, and a run is a directory. Choose another --output.")
    if not is_run(path):
        raise DirectoryInUseError(f"{path} holds something that is no run. Choose another --output.")
    if not overwrite:
        raise DirectoryInUseError(
            f"{path} holds a run. Continue a training with --resume, replace it with --overwrite, or choose another "
            "--output."
        )


@contextlib.contextmanager
def begun(path: Path, config: RunConfig, *, overwrite: bool) -> Iterator[None]:
    """Begin the run `config` at `path`; one that fails before anything is saved leaves no trace there.

    Of several trainings that ask for a directory at once, one gets it.

    Args:
        path: the run directory; see `refuse_to_overwrite` for what may stand there.
        config: what is trained.
        overwrite: whether a run at `path` is removed first.

    Raises:
        DirectoryInUseError: another training has taken `path` in the meantime.
        InputError: `path` cannot be written to.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    if overwrite:
        _clear(path)
    _take(path)
    try:
        config.write(path)
        yield
    except TksEdgeError:
        if not any((path / name).is_file() for name in (LAST, MODEL)):
            _clear(path)
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        raise


def _take(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Creating a file is the one step that only one of two processes can do.
        (path / CONFIG).touch(exist_ok=False)
    except FileExistsError as error:
        raise DirectoryInUseError(f"{path} was taken by another training just now. Choose another --output.") from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}. Choose another --output.") from error


def _clear(path: Path) -> None:
    """Remove the files of a run from `path`, and nothing else; config.json goes last, so it stays a run until then."""
    for folder in (TENSORBOARD, NORMS):
        shutil.rmtree(path / folder, ignore_errors=True)
    for name in (LAST, MODEL, HISTORY, SUMMARY, CONFIG):
        (path / name).unlink(missing_ok=True)


def remove_half_written(path: Path) -> None:
    """Remove what a training that was killed while it wrote left in the run directory `path` beside the whole files."""
    for name in (CONFIG, MODEL, HISTORY, SUMMARY, LAST):
        stem, _, kind = name.partition(".")
        for file in path.glob(f".{stem}-*.partial.{kind}"):
            file.unlink(missing_ok=True)


def free_directory(wanted: Path) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, ... where nothing stands."""
    path, number = wanted, 1
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path
