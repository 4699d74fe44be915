"""`ncaltech101`: N-Caltech101, 8,709 images of Caltech101 that an ATIS camera saw in three saccades.

Source: Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, Frontiers in
Neuroscience 9:437, 2015; the archive is that of the authors at Mendeley Data, with the MD5 that tonic compares it with.
"""

from __future__ import annotations

from pathlib import Path

from tks_edge.data.dataset import Dataset
from tks_edge.data.event_download import Archive, fetch
from tks_edge.data.event_files import read_recording
from tks_edge.data.events import Recording
from tks_edge.data.frame_cache import cache_folder
from tks_edge.data.published_recordings import base_folder, opened, recordings_of
from tks_edge.data.recordings import Source
from tks_edge.data.request import Request
from tks_edge_runtime.errors import MissingError

_FOLDER = "Caltech101"
_CLASSES, _RECORDINGS = 101, 8709
_BACKGROUND = "BACKGROUND_Google"
_LARGEST = 240
"""The images were scaled to fit into 240 by 180 pixels of the camera."""
_ARCHIVE = Archive(
    "N-Caltech101-archive.zip",
    "https://data.mendeley.com/public-files/datasets/cy6cvx3ryv/files/36b5c52a-b49d-4853-addb-a836a8883e49/file_downloaded",
    "66201824eabb0239c7ab992480b50ba3",
)


def open_ncaltech101(request: Request) -> Dataset:
    """Open N-Caltech101: uint8 counts of events, `[T, 2, S, S]`, 101 classes.

    `request.root`, or `Caltech101` in it, holds a folder for each class with its `.bin` files. The class
    BACKGROUND_Google is one of the 101: published results count it. The first 90 % of each class, by their numbers,
    train and validate.

    The recordings differ in size. The smallest box around the events of each is put in the middle of a square of 240
    pixels, which becomes the frame: all are scaled alike.

    Raises:
        MissingError: recordings are missing, could not be fetched, or there is too little room.
    """
    base = base_folder(request.root, _FOLDER, _BACKGROUND)
    members = _members(base)
    if not _complete(members) and request.download:
        fetch([_ARCHIVE], base.parent if base.name == _FOLDER else base)
        base = base_folder(request.root, _FOLDER, _BACKGROUND)
        members = _members(base)
    if not _complete(members):
        raise MissingError(
            f"{base} holds {sum(map(len, members.values())):,} recordings (.bin) in {len(members)} folders, expected "
            f"{_RECORDINGS:,} in {_CLASSES}, {_BACKGROUND} among them. Add --download, give their folder with --data, "
            f"or unpack {_ARCHIVE} in {base.parent}."
        )
    return opened(request, Source(base, _read, (_LARGEST, _LARGEST), cache_folder(base)), members)


def _members(base: Path) -> dict[str, list[Path]]:
    if not base.is_dir():
        return {}
    folders = sorted(entry for entry in base.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {folder.name: recordings_of(folder, ".bin") for folder in folders}


def _complete(members: dict[str, list[Path]]) -> bool:
    return len(members) == _CLASSES and sum(map(len, members.values())) == _RECORDINGS


def _read(path: Path) -> Recording:
    """The recording, its box in the middle of the square."""
    events = read_recording(path).events.copy()
    for name in ("x", "y"):
        low, high = int(events[name].min()), int(events[name].max())
        events[name] += (_LARGEST - 1 - low - high) // 2
    return Recording(events, _LARGEST, _LARGEST)
