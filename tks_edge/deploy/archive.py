"""An archive that is the same to the byte for the same contents: sorted, without times, owners or umasks."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, cast

from tks_edge.deploy.payload import PayloadFile
from tks_edge_runtime.errors import InputError, MissingError
from tks_edge_runtime.files import replacing

ENDINGS = (".tar.zst", ".tar.gz", ".tgz")

_TIME = 315532800
"""Of every entry: 1 January 1980, the oldest time that every unpacker knows."""


def checked_ending(output: Path) -> str:
    """The ending of an archive's name, which says how it is compressed.

    Raises:
        InputError: it is none that is known.
        MissingError: its library is not installed.
    """
    ending = next((ending for ending in ENDINGS if output.name.endswith(ending)), None)
    if ending is None or output.name == ending:
        raise InputError(f"{output} does not end in {' or '.join(ENDINGS)}. Name it board.tar.zst, for example.")
    if ending == ".tar.zst":
        _zstandard()
    return ending


def write_archive(output: Path, root: str, files: Iterable[PayloadFile], texts: dict[str, str]) -> None:
    """Write an archive, whole or not at all.

    Args:
        output: its name decides the compression, see `ENDINGS`.
        root: the folder that everything in it is in.
        files: what goes in.
        texts: files by their path in `root`, and what is in them; those that end in `.sh` can be run.

    Raises:
        InputError: `output` has an unknown ending or cannot be written to.
        MissingError: the disk is full, or the library of its compression is missing.
    """
    ending = checked_ending(output)
    entries: dict[str, PayloadFile | bytes] = {file.path: file for file in files}
    entries.update((path, text.encode()) for path, text in texts.items())
    with (
        replacing(output) as temporary,
        temporary.open("wb") as file,
        _compressed(file, ending) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        for folder in sorted({"", *(path.rpartition("/")[0] for path in entries)}):
            archive.addfile(_entry(f"{root}/{folder}".rstrip("/"), tarfile.DIRTYPE, 0o755))
        for path in sorted(entries):
            _add(archive, f"{root}/{path}", entries[path])


def _add(archive: tarfile.TarFile, name: str, content: PayloadFile | bytes) -> None:
    if isinstance(content, bytes):
        entry = _entry(name, tarfile.REGTYPE, 0o755 if name.endswith(".sh") else 0o644)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    entry = _entry(name, tarfile.REGTYPE, 0o755 if content.executable else 0o644)
    entry.size = content.size
    with content.source.open("rb") as source:
        archive.addfile(entry, source)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, _TIME
    return entry


@contextlib.contextmanager
def _compressed(file: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    if ending == ".tar.zst":
        with _zstandard().ZstdCompressor(level=10).stream_writer(file, closefd=False) as stream:
            yield stream
    else:
        # Without the name and the time of the file, which gzip would note.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            yield cast(IO[bytes], packed)


def _zstandard() -> ModuleType:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise MissingError(
            "a .tar.zst needs zstandard, which is missing here: pip install zstandard, or write a .tar.gz"
        ) from error
    return zstandard
