"""`event-folder`: a folder of one's own with recordings, divided as the folders of images are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tks_edge.data.dataset import Dataset
from tks_edge.data.event_files import EVENT_FORMATS, SAY_THEIR_SENSOR, read_recording
from tks_edge.data.event_frames import Cutter
from tks_edge.data.folder import Kind, divided
from tks_edge.data.frame_cache import cache_folder
from tks_edge.data.recordings import FileRecordings, Source, recorded
from tks_edge.data.request import Request
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import read_json, write_json


def open_event_folder(request: Request) -> Dataset:
    """Open a folder of recordings: uint8 counts of events, `[T, 2, S, S]` with S = `request.image_size`.

    How it is divided is said in `folder`, which formats are read in `event_files`. The sensor of a recording is as
    large as its file says; those whose files do not say it share one, just large enough for every event of all of them.
    For that they are all read once, when the folder is first opened or has changed.

    Raises:
        InputError: as for `folder`; or none of the recordings can be read.
        MissingError: there is too little room on the disk for the frames, or a library is missing.
    """
    root = request.root
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder. Give --data a folder that holds one folder of recordings for each class."
        )
    cache = cache_folder(root)
    source = Source(root, read_recording, _shared_sensor(root, cache), cache)
    cutter = Cutter(request.timesteps, request.frames.cut, request.image_size)
    made: list[FileRecordings] = []

    def samples(names: Sequence[str]) -> FileRecordings:
        made.append(FileRecordings(source, [root / name for name in names], cutter))
        return made[-1]

    train, validation, test, classes = divided(root, Kind("recording", EVENT_FORMATS, samples))
    return recorded(request, root, (train, validation, test), classes, request.image_size, made)


def _shared_sensor(root: Path, cache: Path) -> tuple[int, int]:
    """Width and height of the smallest sensor that holds every recording below `root` whose file says no size."""
    endings = set(EVENT_FORMATS) - set(SAY_THEIR_SENSOR)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in endings)
    facts = [(path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    kept = cache / f"sensor-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.json"
    try:
        document = read_json(kept)
        return int(document["width"]), int(document["height"])
    except (InputError, KeyError, TypeError, ValueError):
        pass
    width, height = _extent(paths)
    write_json(kept, {"width": width, "height": height})
    return width, height


def _extent(paths: Sequence[Path]) -> tuple[int, int]:
    """Of the recordings that can be read; one that cannot is reported when it is used."""
    width = height = 1
    failed: list[InputError] = []
    for path in paths:
        try:
            recording = read_recording(path)
        except InputError as error:
            failed.append(error)
            continue
        if recording.width is None or recording.height is None:
            width = max(width, int(recording.events["x"].max()) + 1)
            height = max(height, int(recording.events["y"].max()) + 1)
    if failed and len(failed) == len(paths):
        raise failed[0]
    return width, height
