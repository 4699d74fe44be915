"""Frames of recordings, kept on disk so that each recording is read and cut once.

Each recording has a file of its own: what it was made from, and the frames as NumPy's `.npy`, compressed by Zstandard.
So a process needs no other to know what is there, a file appears whole or not at all, and one that is damaged (the
checksum of Zstandard tells), or made from a file that was changed since, is made anew. Zstandard
reads such sparse counts several times faster than the zlib of `.npz` does.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

from tks_edge.data.event_frames import POLARITIES, Cutter
from tks_edge.data.room import free_for
from tks_edge_runtime.errors import InputError, MissingError
from tks_edge_runtime.files import replacing

Frames = npt.NDArray[np.uint8]
FOLDER_VARIABLE = "TKS_EDGE_FRAMES"
_BESIDE_THE_SET = ".tks-edge-frames"
_LAYOUT = 1
"""Part of what a file was made from; raised when frames are made in another way."""
_DIGEST = 32
_BLOCK = 4096
"""What a file takes on a disk comes in blocks of this size; a header is below one."""


def cache_folder(root: Path) -> Path:
    """Where the frames of the set in `root` are kept.

    `$TKS_EDGE_FRAMES` where it is set; else `.tks-edge-frames` in `root` or, where nothing can be written there, below
    the user's own cache (`$XDG_CACHE_HOME`, `~/.cache`).
    """
    if asked := os.environ.get(FOLDER_VARIABLE):
        return Path(asked).expanduser()
    if os.access(root, os.W_OK):
        return root / _BESIDE_THE_SET
    caches = os.environ.get("XDG_CACHE_HOME")
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return (Path(caches) if caches else Path("~/.cache").expanduser()) / "tks-edge" / "frames" / place


class FrameCache:
    """The frames of a set's recordings, cut in one way.

    Args:
        folder: from `cache_folder`.
        root: the folder of the set.
        cutter: how the recordings are cut.
        made: what else decides the frames of a recording, such as the size of the sensor.
    """

    def __init__(self, folder: Path, root: Path, cutter: Cutter, made: str) -> None:
        self._root = root
        self._cutter = cutter
        self._made = made
        self._folder = folder / f"t{cutter.timesteps}-{cutter.cut}-{cutter.image_size}"
        self.shape = (cutter.timesteps, POLARITIES, cutter.image_size, cutter.image_size)

    def get(self, source: Path, make: Callable[[], Frames]) -> Frames:
        """The frames of the recording in `source`: those that are kept, or else what `make` gives, which then is kept.

        Raises:
            InputError: the recording is not there any more, or the cache cannot be written to.
            MissingError: the disk is full.
        """
        path, origin = self._path(source), self._origin(source)
        kept = self._read(path, origin)
        if kept is not None:
            return kept
        frames = make()
        buffer = io.BytesIO()
        np.save(buffer, frames)
        compressor = zstandard.ZstdCompressor(write_checksum=True)
        with replacing(path) as temporary:
            temporary.write_bytes(compressor.compress(origin + buffer.getvalue()))
        return frames

    def check_room(self, sources: Iterable[Path]) -> str | None:
        """What the frames of these recordings that are not kept yet will take, in words; None where all are.

        Raises:
            MissingError: there is too little room on the disk.
        """
        missing = sum(not self._path(source).exists() for source in sources)
        if not missing:
            return None
        # Not compressed, which they will be: how well is not known before.
        needed = missing * (math.ceil(math.prod(self.shape) / _BLOCK) + 1) * _BLOCK
        free = free_for(self._folder)
        text = f"frames of {missing:,} recordings will be kept in {self._folder}: at most {needed / 1e6:,.1f} MB"
        if needed > free:
            raise MissingError(
                f"{text}, and {free / 1e6:,.1f} MB are free. Free some space, or name another folder in "
                f"${FOLDER_VARIABLE}."
            )
        return text

    def _path(self, source: Path) -> Path:
        return self._folder / f"{source.relative_to(self._root).as_posix()}.npy.zst"

    def _origin(self, source: Path) -> bytes:
        """A digest of what the frames are made from."""
        try:
            status = source.stat()
        except OSError as error:
            raise InputError(f"cannot read {source}: {error.strerror}.") from error
        facts = (_LAYOUT, self._cutter, self._made, status.st_size, status.st_mtime_ns)
        return hashlib.sha256(repr(facts).encode()).digest()

    def _read(self, path: Path, origin: bytes) -> Frames | None:
        """What is kept at `path`; None where there is nothing, or nothing that is whole and made from `origin`."""
        try:
            content = zstandard.ZstdDecompressor().decompress(path.read_bytes())
            if content[:_DIGEST] != origin:
                return None
            frames: Frames = np.load(io.BytesIO(content[_DIGEST:]), allow_pickle=False)
        except (OSError, ValueError, EOFError, zstandard.ZstdError):
            return None
        return frames if frames.shape == self.shape and frames.dtype == np.uint8 else None
