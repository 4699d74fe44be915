"""A simulated event camera: still images moved before it in saccades, and the events that their edges set off.

A pixel remembers the log intensity of its last event and sends another one for each threshold that it has moved since,
ON upwards and OFF downwards; most events are lost on the way, and some come from nowhere. An edge along a saccade sets
off nothing, so one saccade shows a part of the outline, and the whole recording all of it.

The events are the same on every machine: positions, weights and intensities are integers (those that pass through a
matrix product stay below 2^24, which float32 holds exactly, in whatever order they are added), logarithms are rounded
to integers that no last bit can change, and what is random comes from SHAKE-128 of the recording's name.

Source of the model: Lichtsteiner, Posch and Delbruck, A 128x128 120 dB 15 us latency asynchronous temporal contrast
vision sensor, IEEE JSSC 43(2), 2008; of the saccades: Orchard et al., Frontiers in Neuroscience 9:437, 2015.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tks_edge.data.events import EVENT, Events

SENSOR = 24
"""Height and width of the sensor, in pixels."""
MICROSECONDS = 96_000
"""Length of a recording: four saccades of 24 ms."""
_SACCADES = int(os.environ.get("EV_SACC", 4))
_STEPS = 96
"""The scene stands still for a millisecond at a time."""
_STEP = MICROSECONDS // _STEPS
_REACH = int(os.environ.get("EV_REACH", 4))
"""Pixels that the centre of a digit gets away from the centre of the sensor, at most."""
_THRESHOLD = 0.15
_CONTRAST = float(os.environ.get("EV_CONTRAST", 9.0))
"""Ink is this many times brighter than the dark around it, which has intensity 1, and added to it."""
_KEPT = float(os.environ.get("EV_KEPT", 0.3))
_NOISE = float(os.environ.get("EV_NOISE", 0.02))
"""Events from nowhere in each pixel, in each eighth of a recording."""

_UNIT = 64
"""Positions are whole multiples of 1/64 pixel of the sensor; a pixel of an image is as large as two of the sensor."""
_INK = 16
_BRIGHTEST = (2 * _UNIT) ** 2 * _INK
_LEVELS = 1024
_FIXED = 1 << 12
_BATCH = 256


def logarithms() -> npt.NDArray[np.float64]:
    """Log intensity at each of the levels of brightness, in the units in which it is then rounded."""
    return np.log1p(_CONTRAST * np.arange(_LEVELS + 1) / _LEVELS) * _FIXED


def record(images: npt.NDArray[np.uint8], names: Sequence[str]) -> list[Events]:
    """What the camera sends when it is shown these images.

    Args:
        images: `[N, 8, 8]`, light on dark, values 0..16.
        names: of the recordings; all that is random in one depends on its name.
    """
    recordings: list[Events] = []
    for first in range(0, len(names), _BATCH):
        chosen = slice(first, first + _BATCH)
        recordings += _record(images[chosen].astype(np.float32), names[chosen])
    return recordings


def _record(images: npt.NDArray[np.float32], names: Sequence[str]) -> list[Events]:
    paths = np.stack([_path(name) for name in names])
    table = np.rint(logarithms()).astype(np.int32)
    threshold = round(_THRESHOLD * _FIXED)
    reference = table[_seen(images, paths[:, 0])]
    found = []
    for step in range(1, _STEPS + 1):
        change = table[_seen(images, paths[:, step])] - reference
        count = np.abs(change) // threshold
        sign = np.sign(change)
        reference += sign * count * threshold
        recording, y, x = np.nonzero(count)
        times = count[recording, y, x]
        # The n events of a step divide it evenly.
        each = np.repeat(np.arange(len(times)), times)
        order = np.arange(len(each)) - np.repeat(np.cumsum(times) - times, times)
        t = (step - 1) * _STEP + (order + 1) * _STEP // (times[each] + 1)
        found.append(np.stack([recording[each], t, x[each], y[each], sign[recording, y, x][each] > 0]))
    sent = np.concatenate(found, axis=1)
    sent = sent[:, np.lexsort((sent[1], sent[0]))]
    bounds = np.searchsorted(sent[0], np.arange(len(names) + 1))
    return [
        _received(sent[1:, begin:end], name) for name, begin, end in zip(names, bounds[:-1], bounds[1:], strict=True)
    ]


def _seen(images: npt.NDArray[np.float32], position: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The level of brightness in each pixel, `[B, 24, 24]`, where the images `[B, 8, 8]` are at `position` `[B, 2]`."""
    pixels = _UNIT * (2 * np.arange(SENSOR) + 1 - SENSOR) // 2
    points = _UNIT * (2 * np.arange(images.shape[-1]) + 1 - images.shape[-1])
    distance = np.abs(pixels[None, None, :, None] - position[:, :, None, None] - points)
    weights = np.maximum(2 * _UNIT - distance, 0).astype(np.float32)
    brightness: npt.NDArray[np.float32] = weights[:, 0] @ images @ weights[:, 1].swapaxes(1, 2)
    return brightness.astype(np.int64) * _LEVELS // _BRIGHTEST


def _path(name: str) -> npt.NDArray[np.int64]:
    """Where the image's centre is (y, x) at the beginning of a recording and after each step, `[steps + 1, 2]`."""
    goals = _draws(f"{name}/saccades", 2 * (_SACCADES + 1)).reshape(-1, 2) * (2 * _REACH * _UNIT + 1) // 65536
    goals -= _REACH * _UNIT
    length = _STEPS // _SACCADES
    moved = np.arange(1, length + 1)[:, None]
    # From rest to rest: 3 s^2 - 2 s^3.
    smooth = moved**2 * (3 * length - 2 * moved)
    legs = [goal + (then - goal) * smooth // length**3 for goal, then in itertools.pairwise(goals)]
    return np.concatenate([goals[:1], *legs])


def _received(sent: npt.NDArray[np.int64], name: str) -> Events:
    """The events `[t, x, y, p]` that are not lost, among those from nowhere."""
    kept = sent[:, _draws(f"{name}/lost", sent.shape[1]) < round(_KEPT * 65536)]
    noise = _draws(f"{name}/noise", 4 * round(_NOISE * 8 * SENSOR**2)).reshape(4, -1)
    noise = noise * np.array([[MICROSECONDS], [SENSOR], [SENSOR], [2]]) // 65536
    both = np.concatenate([kept, noise], axis=1)
    both = both[:, np.argsort(both[0], kind="stable")]
    events = np.empty(both.shape[1], EVENT)
    for field, values in zip(("t", "x", "y", "p"), both, strict=True):
        events[field] = values
    return events


def _draws(name: str, count: int) -> npt.NDArray[np.int64]:
    """`count` integers, uniform from 0 to 65535, by the name."""
    return np.frombuffer(hashlib.shake_128(name.encode()).digest(2 * count), "<u2").astype(np.int64)
