"""`dvs-cifar10`: CIFAR10-DVS, 10,000 images of CIFAR-10 that moved on a screen before a DVS128.

Source: Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, Frontiers in Neuroscience 11:309,
2017; the archives are those of the authors at figshare, with the MD5 sums that SpikingJelly compares them with.
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

_EACH = 1000
_SENSOR = (128, 128)
_URL = "https://ndownloader.figshare.com/files/"
_ARCHIVES = {
    name: Archive(f"{name}.zip", f"{_URL}{number}", md5, megabytes)
    for name, number, md5, megabytes in (
        ("airplane", 7712788, "0afd5c4bf9ae06af762a77b180354fdd", 712),
        ("automobile", 7712791, "8438dfeba3bc970c94962d995b1b9bdd", 925),
        ("bird", 7712794, "a9c207c91c55b9dc2002dc21c684d785", 726),
        ("cat", 7712812, "52c63c677c2b15fa5146a8daf4d56687", 804),
        ("deer", 7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3", 742),
        ("dog", 7712818, "f379ebdf6703d16e0a690782e62639c3", 805),
        ("frog", 7712842, "cad6ed91214b1c7388a5f6ee56d08803", 781),
        ("horse", 7712851, "e7cbbf77bec584ffbf913f00e682782a", 886),
        ("ship", 7712836, "41c7bd7d6b251be82557c6cce9a7d5c9", 708),
        ("truck", 7712839, "89f3922fd147d9aeff89e76a2b0b70a7", 906),
    )
}


def open_dvs_cifar10(request: Request) -> Dataset:
    """Open CIFAR10-DVS: uint8 counts of events, `[T, 2, S, S]`, ten classes.

    `request.root`, or `dvs-cifar10` in it, holds a folder for each class with its 1,000 recordings in AEDAT 2.0. The
    first 900 of each class, by their numbers, train and validate.

    Raises:
        MissingError: recordings are missing, could not be fetched, or there is too little room.
    """
    base = base_folder(request.root, request.name, "airplane")
    incomplete = _incomplete(base)
    if incomplete and request.download:
        fetch([_ARCHIVES[name] for name in incomplete], base)
        incomplete = _incomplete(base)
    if incomplete:
        name, found = next(iter(incomplete.items()))
        raise MissingError(
            f"{base / name} holds {found} recordings, expected cifar10_{name}_0.aedat to cifar10_{name}_{_EACH - 1}"
            f".aedat; {len(incomplete)} of {len(_ARCHIVES)} classes are incomplete ({', '.join(incomplete)}). Add "
            f"--download, give their folder with --data, or unpack there: "
            f"{'; '.join(str(_ARCHIVES[name]) for name in incomplete)}."
        )
    members = {name: recordings_of(base / name, ".aedat") for name in _ARCHIVES}
    return opened(request, Source(base, _read, _SENSOR, cache_folder(base)), members)


def _incomplete(base: Path) -> dict[str, int]:
    """The classes of which recordings are missing, and how many are there."""
    counts = {name: len(recordings_of(base / name, ".aedat")) for name in _ARCHIVES}
    return {name: count for name, count in counts.items() if count != _EACH}


def _read(path: Path) -> Recording:
    """The recording, upright: the camera stood on its side, so that columns and rows are exchanged."""
    recording = read_recording(path)
    events = recording.events.copy()
    events["x"], events["y"] = recording.events["y"], recording.events["x"]
    return Recording(events, *_SENSOR)
