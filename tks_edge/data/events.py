"""Events of an event camera: what one is, what a recording of them is, and what it must hold to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.errors import InputError

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
"""A pixel, a time in microseconds, and a polarity: 1 brighter (ON), 0 darker (OFF)."""
Events: TypeAlias = npt.NDArray[Any]
"""The events of a recording, `[N]` of `EVENT`."""
_DISORDER = 1000
"""Microseconds that an event may come after a later one: cameras deliver neighbours out of order, but not by more."""


@dataclass(frozen=True)
class Recording:
    """Events in the order of time, inside their sensor.

    Attributes:
        events: at least one.
        width: of the sensor, in pixels; None where the file does not say it.
        height: likewise.
    """

    events: Events
    width: int | None = None
    height: int | None = None


def structured(x: Any, y: Any, t: Any, p: Any) -> Events:
    """Events from an array for each field; whatever does not fit the fields' types raises OverflowError."""
    events = np.empty(len(x), EVENT)
    for name, values in zip(("x", "y", "t", "p"), (x, y, t, p), strict=True):
        column = np.asarray(values)
        with np.errstate(invalid="ignore"):  # what is no number is found below
            events[name] = column
        if not np.array_equal(events[name], column):
            raise OverflowError(f"{name} holds more than whole numbers, or too large ones: up to {column.max()}")
    return events


def checked(recording: Recording, path: Path) -> Recording:
    """The recording with its events in the order of time.

    Raises:
        InputError: no events, a time that runs back by more than a millisecond, a polarity that is not 0 or 1, or an
            event outside the sensor.
    """
    events = recording.events
    if not len(events):
        raise InputError(f"{path} holds no events. Record it again, or leave it out.")
    _check_range(events["x"], "x", recording.width, path)
    _check_range(events["y"], "y", recording.height, path)
    _check_range(events["p"], "p", 2, path)
    behind = np.maximum.accumulate(events["t"]) - events["t"]
    if (worst := int(behind.argmax())) and behind[worst]:
        if behind[worst] > _DISORDER:
            raise InputError(
                f"in {path} the time runs back by {behind[worst]} microseconds at event {worst}; up to {_DISORDER} are "
                f"put in order. The file is damaged, or its events are to be sorted by time first."
            )
        events = events[np.argsort(events["t"], kind="stable")]
    return Recording(events, recording.width, recording.height)


def _check_range(values: npt.NDArray[Any], name: str, size: int | None, path: Path) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0 or (size is not None and high >= size):
        bound = "up" if size is None else f"to {size - 1}"
        odd = low if low < 0 else high
        raise InputError(f"{path} holds an event with {name} = {odd}; it must be from 0 {bound}. The file is damaged.")
