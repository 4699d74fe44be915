"""From the events of a recording to T frames of counts, through tonic.

tonic's own fixed numbers of bins leave out what remains of a division (the last microseconds, the last events) and a
recording without duration has no bins at all, so the bin of each event is worked out here, in whole numbers, and tonic
counts the events of each bin. Cut into more frames, the edges stay where they were: the frames of T = 4 are sums of
those of T = 8.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge.data.events import Events
from tks_edge_runtime.errors import InputError, MissingError

POLARITIES = 2
MOST = 255
"""The largest count of a frame; what is above is cut off."""
MEAN, STD = (0.0, 0.0), (1 / 255, 1 / 255)
"""With these, what a network gets are the counts themselves."""


@dataclass(frozen=True)
class Cutter:
    """Makes frames of the events of a recording.

    Attributes:
        timesteps: T, the number of frames.
        cut: what each gets an equal share of: "time" or "events".
        image_size: height and width of a frame, in pixels.
    """

    timesteps: int
    cut: str
    image_size: int

    def frames(self, events: Events, width: int, height: int) -> npt.NDArray[np.uint8]:
        """The frames, uint8 `[T, 2, S, S]`: how many events of each polarity (OFF, ON) a pixel sent.

        A sensor that is not square is padded to a square, the same on both sides; a pixel of the frame then counts the
        events of all pixels of the sensor that fall on it. Where the sizes do not divide, some of them hold one row or
        column more than others.

        Args:
            events: in the order of time; none give empty frames.
            width: of the sensor, in pixels.
            height: likewise.

        Raises:
            InputError: a pixel sends more than 32,767 events in a frame: it is stuck.
            MissingError: tonic is not installed.
        """
        side = max(width, height)
        binned = events.copy()
        binned["x"] = (events["x"].astype(np.int64) + (side - width) // 2) * self.image_size // side
        binned["y"] = (events["y"].astype(np.int64) + (side - height) // 2) * self.image_size // side
        binned["t"] = self._bins(events["t"])
        counts = self._count(binned)
        # tonic counts in int16; one that overflows is off by 65,536.
        if counts.sum(dtype=np.int64) != len(events):
            raise InputError("a pixel sent more than 32,767 events in a frame: it is stuck. Use more timesteps.")
        return np.minimum(counts, MOST).astype(np.uint8)

    def _bins(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The frame of each event."""
        count = len(times)
        if not count:
            return times
        if self.cut == "events":
            return np.arange(count) * self.timesteps // count
        bins: npt.NDArray[np.int64] = (times - times[0]) * self.timesteps // (times[-1] - times[0] + 1)
        return bins

    def _count(self, binned: Events) -> npt.NDArray[np.int16]:
        if not len(binned):
            return np.zeros((self.timesteps, POLARITIES, self.image_size, self.image_size), np.int16)
        count = event_library("tonic.transforms").ToFrame(
            (self.image_size, self.image_size, POLARITIES), time_window=1, start_time=0, end_time=self.timesteps
        )
        counted: npt.NDArray[np.int16] = count(binned)
        return counted


def event_library(name: str) -> Any:
    """A library of the extra `events`, or a module of one, imported when it is first needed: tonic takes seconds.

    Raises:
        MissingError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(
            f"recordings of event cameras need {name.partition('.')[0]} ({error}). In a checkout of tks-edge: pip "
            "install '.[train,events]'."
        ) from error
