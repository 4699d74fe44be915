"""Archives of data sets, fetched from the sets' own sites, checked and unpacked; what breaks off is gone on with."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from tks_edge.data.expected import EXPECTED, Published
from tks_edge.data.room import free_for
from tks_edge_runtime.errors import InputError, MissingError
from tks_edge_runtime.progress import bars

_CHUNK = 1 << 20
_TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""
_UNPACKED = 1.2
"""Room that an archive of photographs takes when unpacked, at most, relative to its own size."""


def download(name: str, root: Path) -> None:
    """Bring the data set `name` into its folder below `root`, as far as it is not there.

    Each archive is fetched beside its place, going on where an earlier download broke off, compared with its published
    size and sum, unpacked and removed. What lies in the folder afterwards is whole.

    Raises:
        MissingError: there is no network, no room, or what came is not what was published.
        InputError: a part of what an archive holds is there already; nothing is ever replaced.
    """
    expected = EXPECTED[name]
    base = expected.base(root)
    wanted = [file for file in expected.files if not all((base / part).exists() for part in file.holds)]
    for part in (part for file in wanted for part in file.holds):
        if (base / part).exists():
            raise InputError(f"{base / part} is there, but {name} is not whole. Move it away to download the set.")
    _check_room(name, base, wanted)
    for file in wanted:
        with _fetching(file, base) as archive:
            _unpack(archive, base, file, expected.folder)


def _check_room(name: str, base: Path, files: list[Published]) -> None:
    """Refuse before the first byte what would not fit."""
    needed = sum(int(file.size * _UNPACKED) for file in files) + max((file.size for file in files), default=0)
    free = free_for(base)
    if needed > free:
        raise MissingError(
            f"{name} needs {needed / 1e9:.1f} GB in {base} while it is unpacked, and {free / 1e9:.1f} GB are free. "
            "Free some space, or give another folder with --data."
        )


@contextlib.contextmanager
def _fetching(file: Published, folder: Path) -> Iterator[Path]:
    """The archive, fetched and checked; it is removed when the block ends well."""
    partial = folder / f".{file.name}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as target:
            _lock(target, file, folder)
            _fetch(file, partial, target)
            target.flush()
            _check(file, partial)
            yield partial
            partial.unlink()
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        kept = _kept(partial)
        resumed = f" {kept:,} of {file.size:,} bytes are kept, and the next try goes on from there." if kept else ""
        raise MissingError(
            f"{file.url} could not be downloaded ({error}).{resumed} Try again, or fetch and unpack {file.name} "
            f"otherwise, so that {folder} holds {file.held}."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MissingError(
                f"no room left on the disk for {file.name} in {folder}. Free some, run again."
            ) from error
        raise MissingError(
            f"cannot write {error.filename or folder}: {error.strerror}. Choose another --data."
        ) from error


def _kept(partial: Path) -> int:
    """Bytes of a download that broke off; one that never began leaves nothing behind."""
    size = partial.stat().st_size if partial.exists() else 0
    if not size:
        partial.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder holds something else
            partial.parent.rmdir()
    return size


def _lock(target: IO[bytes], file: Published, folder: Path) -> None:
    try:
        fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise MissingError(
            f"another process is downloading {file.name} into {folder}. Wait until it is done."
        ) from error


def _fetch(file: Published, partial: Path, target: IO[bytes]) -> None:
    """Append to `partial` what it lacks."""
    done = partial.stat().st_size
    if done == file.size:
        return
    if done > file.size:
        target.truncate(done := 0)
    request = urllib.request.Request(str(file.url), headers={"User-Agent": "tks-edge"})  # noqa: S310 - a URL of ours
    if done:
        request.add_header("Range", f"bytes={done}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response, _bar() as bar:  # noqa: S310
        if response.status != http.client.PARTIAL_CONTENT:  # the site gives the whole, or nothing was there
            target.truncate(done := 0)
        task = bar.add_task(file.name, total=file.size, completed=done)
        while chunk := response.read(_CHUNK):
            target.write(chunk)
            bar.advance(task, len(chunk))
    target.flush()
    if (size := partial.stat().st_size) < file.size:
        raise ConnectionError(f"the connection ended after {size:,} bytes")


def _bar() -> Progress:
    """A bar of bytes, with their speed."""
    return bars(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())


def _check(file: Published, partial: Path) -> None:
    """Compare with what was published; what differs is removed, so that the next try begins anew."""
    digest = hashlib.new(file.algorithm, usedforsecurity=False)
    with partial.open("rb") as archive:
        while chunk := archive.read(_CHUNK):
            digest.update(chunk)
    size, found = partial.stat().st_size, digest.hexdigest()
    if (size, found) != (file.size, file.digest):
        partial.unlink()
        raise MissingError(
            f"{file.url} gave {size:,} bytes with {file.algorithm.upper()} {found}; published are {file.size:,} with "
            f"{file.digest}. It was removed. Try again, or fetch {file.name} otherwise."
        )


def _unpack(archive: Path, folder: Path, file: Published, name: str) -> None:
    """Unpack beside the place and move what it holds there, so that nothing half unpacked looks whole.

    An archive may hold the set's folder, called `name`, or what is to lie in it.
    """
    if not hasattr(tarfile, "data_filter"):
        raise MissingError(
            f"this Python's tarfile cannot refuse paths that lead out of a folder. Unpack {archive} in {folder} by "
            "hand, or use Python 3.10.12, 3.11.4 or newer."
        )
    beside = folder / f".{file.name}.unpacked"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(beside, filter="data")
        for part in file.holds:
            held = next((at / part for at in (beside / name, beside) if (at / part).exists()), None)
            if held is None:
                raise MissingError(f"{file.name} holds no {part}. Report it; fetch the set otherwise until then.")
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            held.rename(folder / part)
    except tarfile.TarError as error:
        raise MissingError(f"{file.name} cannot be unpacked ({error}). Fetch it otherwise.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
