"""Recordings as samples: cut into T frames, and cut anew into another number of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.event_frames import MEAN, POLARITIES, STD, Cutter, event_library
from tks_edge.data.events import Events, Recording, checked
from tks_edge.data.frame_cache import FrameCache, Frames
from tks_edge.data.request import Request
from tks_edge.data.splits import SPLIT_SEED
from tks_edge_runtime.errors import InputError


class HeldRecordings:
    """Recordings that are held in memory, and so are their frames.

    Args:
        events: of each recording.
        size: height and width of the sensor, in pixels.
        cutter: how they are cut.
        part: what they are called: `digits-dvs/17`.
    """

    def __init__(self, events: Sequence[Events], size: int, cutter: Cutter, part: str) -> None:
        self._events = events
        self._size = size
        self.cutter = cutter
        self._part = part
        self._rebinned: dict[int, HeldRecordings] = {}
        self._frames = torch.from_numpy(np.stack([cutter.frames(one, size, size) for one in events]))

    def __len__(self) -> int:
        return len(self._events)

    def events(self, index: int) -> Events:
        """The events of recording `index`."""
        return self._events[index]

    def original(self, index: int) -> Tensor:
        """Recording `index`, uint8 `[T, 2, S, S]`."""
        return self._frames[index]

    def prepared(self, index: int) -> Tensor:
        """Recording `index`: it is evaluated as it is."""
        return self._frames[index]

    def name(self, index: int) -> str:
        """The part and the position."""
        return f"{self._part}/{index}"

    def rebinned(self, timesteps: int) -> HeldRecordings:
        """The same recordings in `timesteps` frames; cut once for all the splits that share them."""
        if timesteps not in self._rebinned:
            cutter = replace(self.cutter, timesteps=timesteps)
            self._rebinned[timesteps] = HeldRecordings(self._events, self._size, cutter, self._part)
        return self._rebinned[timesteps]


@dataclass(frozen=True)
class Source:
    """Where recordings in files come from.

    Attributes:
        root: the folder of the data set.
        read: reads the recording in a file; what it raises as InputError names the file.
        sensor: width and height, in pixels, where a recording does not say it.
        cache: the folder in which frames are kept.
    """

    root: Path
    read: Callable[[Path], Recording]
    sensor: tuple[int, int]
    cache: Path


class FileRecordings:
    """Recordings in files, read and cut when first asked for, and from then on kept as frames on disk.

    Args:
        source: where they come from.
        paths: the files.
        cutter: how they are cut.

    Raises:
        MissingError: there is too little room on the disk for the frames, or tonic is not installed.
    """

    def __init__(self, source: Source, paths: Sequence[Path], cutter: Cutter) -> None:
        self._source = source
        self._paths = tuple(paths)
        self._cutter = cutter
        self._cache = FrameCache(source.cache, source.root, cutter, str(source.sensor))
        self.room = self._cache.check_room(self._paths)
        """What the frames will take on the disk, in words; None where all are there."""
        if self.room is not None:
            event_library("tonic.transforms")  # said now, not by a process that loads samples

    def __len__(self) -> int:
        return len(self._paths)

    def original(self, index: int) -> Tensor:
        """Recording `index`, uint8 `[T, 2, S, S]`."""
        return self.prepared(index)

    def prepared(self, index: int) -> Tensor:
        """Recording `index`, uint8 `[T, 2, S, S]`.

        Raises:
            InputError: the file cannot be read, or holds no valid recording.
            MissingError: the disk is full, or a library is missing.
        """
        path = self._paths[index]
        return torch.from_numpy(self._cache.get(path, lambda: self._cut(path)))

    def name(self, index: int) -> str:
        """The path below the data set's folder, with forward slashes."""
        return self._paths[index].relative_to(self._source.root).as_posix()

    def rebinned(self, timesteps: int) -> FileRecordings:
        """The same recordings in `timesteps` frames."""
        return FileRecordings(self._source, self._paths, replace(self._cutter, timesteps=timesteps))

    def _cut(self, path: Path) -> Frames:
        recording = self._source.read(path)
        width, height = recording.width or self._source.sensor[0], recording.height or self._source.sensor[1]
        events = checked(Recording(recording.events, width, height), path).events
        try:
            return self._cutter.frames(events, width, height)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def recorded(
    request: Request,
    root: Path | None,
    splits: Sequence[Split],
    classes: Sequence[str],
    image_size: int,
    made: Sequence[FileRecordings] = (),
) -> Dataset:
    """The data set of three splits of recordings: to train on, to validate with, to test on.

    Args:
        request: how it was asked for.
        root: the folder that it was read from; None for an embedded set.
        splits: the three.
        classes: the name of each class.
        image_size: height and width of a frame.
        made: the recordings in files; what their frames will take on the disk is noted.
    """
    train, validation, test = splits
    return Dataset(
        name=request.name,
        root=None if root is None else str(root.resolve()),
        train=train,
        validation=validation,
        test=test,
        classes=tuple(classes),
        in_channels=POLARITIES,
        image_size=image_size,
        mean=MEAN,
        std=STD,
        preprocessing=None,
        split_seed=SPLIT_SEED,
        timesteps=request.timesteps,
        cut=request.frames.cut,
        notes=tuple(recordings.room for recordings in made if recordings.room is not None),
    )
