"""What the published sets of recordings share: where they lie, whether all is there, and how they are divided."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.event_frames import Cutter
from tks_edge.data.recordings import FileRecordings, Source, recorded
from tks_edge.data.request import Request
from tks_edge.data.splits import stratified

_VALIDATION_SHARE = 10
"""One training recording in ten chooses the checkpoint."""


def base_folder(root: Path, name: str, a_class: str) -> Path:
    """The folder of the classes: `root` itself where it holds one of them, else `root/name`."""
    return root if (root / a_class).is_dir() else root / name


def recordings_of(folder: Path, ending: str) -> list[Path]:
    """The recordings of a class, in the order of the last number in their names."""
    paths = (path for path in folder.glob(f"*{ending}") if not path.name.startswith("."))
    return sorted(paths, key=lambda path: (int((re.findall(r"\d+", path.stem) or ["0"])[-1]), path.name))


def opened(request: Request, source: Source, members: Mapping[str, Sequence[Path]]) -> Dataset:
    """The data set: of each class the first 90 % train, but for a fixed tenth that validates, and the rest tests.

    Args:
        request: how it is to be opened.
        source: where its recordings come from.
        members: the recordings of each class, in their order.

    Raises:
        MissingError: there is too little room on the disk for the frames.
    """
    cutter = Cutter(request.timesteps, request.frames.cut, request.image_size)
    paths = [path for those in members.values() for path in those]
    recordings = FileRecordings(source, paths, cutter)
    labels: list[int] = []
    learning: list[int] = []
    for label, those in enumerate(members.values()):
        first = len(labels)
        learning += range(first, first + len(those) * 9 // 10)
        labels += [label] * len(those)
    held_out = len(learning) // _VALIDATION_SHARE
    drawn = stratified(
        [recordings.name(index) for index in learning],
        [labels[index] for index in learning],
        (held_out, len(learning) - held_out),
    )
    validation, train = ([learning[position] for position in part] for part in drawn)
    test = sorted(set(range(len(paths))) - set(learning))
    splits = [Split(recordings, labels, part) for part in (train, validation, test)]
    return recorded(request, request.root, splits, list(members), request.image_size, [recordings])
