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
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tks_edge.data.events import Events, structured

SENSOR = 24
"""Height and width of the sensor, in pixels."""
MICROSECONDS = 96_000
"""Length of a recording: four saccades of 24 ms."""
_SACCADES = 4
_STEPS = 96
"""The scene stands still for a millisecond at a time."""
_STEP = MICROSECONDS // _STEPS
_REACH = 2
"""Pixels that the centre of a digit gets away from the centre of the sensor, at most."""
_THRESHOLD = 0.15
"""In log intensity."""
_CONTRAST = 9.0
"""What full ink adds to the intensity of the dark, which is 1."""
_KEPT = 0.3
"""The share of events that are not lost."""
_NOISE = 0.02
"""Events from nowhere in each pixel, in each eighth of a recording."""

_UNIT = 64
"""Positions are whole multiples of 1/64 pixel of the sensor; a pixel of an image is as large as two of the sensor."""
_LEVELS = 1024
"""Of brightness, from dark to ink; a product of weights and ink, at most 2^18, is shifted down to them."""
_SHIFT = 8
_THRESHOLD_SHIFT = 10
"""A threshold is 2^10 units of log intensity."""
_BATCH = 256


def logarithms() -> npt.NDArray[np.float64]:
    """Log intensity at each level of brightness, in units of 1/1024 threshold; it is then rounded."""
    return np.log1p(_CONTRAST * np.arange(_LEVELS + 1) / _LEVELS) / _THRESHOLD * (1 << _THRESHOLD_SHIFT)


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
    paths = np.stack([_path(name) for name in names]).astype(np.int32)
    table = np.rint(logarithms()).astype(np.int32)
    reference = table[_seen(images, paths[:, 0])]
    flat = reference.reshape(-1)
    fired, times, sign = [], [], []
    for step in range(1, _STEPS + 1):
        change = (table[_seen(images, paths[:, step])] - reference).reshape(-1)
        count = np.abs(change) >> _THRESHOLD_SHIFT
        pixels = np.flatnonzero(count)
        count, up = count[pixels], change[pixels] > 0
        flat[pixels] += np.where(up, count, -count) << _THRESHOLD_SHIFT
        # The n events of a pixel divide the step evenly.
        each = np.repeat(np.arange(len(count)), count)
        order = np.arange(len(each)) - np.repeat(np.cumsum(count) - count, count)
        t = ((order + 1) * _STEP // (count[each] + 1)).astype(np.int16)
        in_order = np.argsort(t, kind="stable")
        fired.append(pixels[each[in_order]].astype(np.int32))
        times.append(t[in_order] + np.int32((step - 1) * _STEP))
        sign.append(up[each[in_order]])
    recording, y, x = np.unravel_index(np.concatenate(fired), reference.shape)
    by_recording = np.argsort(recording.astype(np.int16), kind="stable")
    sent = structured(x, y, np.concatenate(times), np.concatenate(sign))[by_recording]
    bounds = np.cumsum(np.bincount(recording, minlength=len(names)))[:-1]
    return [_received(*one) for one in zip(np.split(sent, bounds), names, strict=True)]


def _seen(images: npt.NDArray[np.float32], position: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The level of brightness in each pixel, `[B, 24, 24]`, where the images `[B, 8, 8]` are at `position` `[B, 2]`."""
    pixels = _UNIT * (2 * np.arange(SENSOR, dtype=np.int32) + 1 - SENSOR) // 2
    points = _UNIT * (2 * np.arange(images.shape[-1], dtype=np.int32) + 1 - images.shape[-1])
    distance = np.abs((pixels[:, None] - points) - position[:, :, None, None])
    weights = np.maximum(2 * _UNIT - distance, 0).astype(np.float32)
    brightness: npt.NDArray[np.float32] = weights[:, 0] @ images @ weights[:, 1].swapaxes(1, 2)
    return brightness.astype(np.int32) >> _SHIFT


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


def _received(sent: Events, name: str) -> Events:
    """The events that are not lost, among those from nowhere."""
    kept = sent[_draws(f"{name}/lost", len(sent)) < round(_KEPT * 65536)]
    x, y, t, p = _draws(f"{name}/noise", 4 * round(_NOISE * 8 * SENSOR**2)).reshape(4, -1)
    noise = structured(x * SENSOR >> 16, y * SENSOR >> 16, t * MICROSECONDS >> 16, p >> 15)
    both = np.concatenate([kept, noise])
    return both[np.argsort(both["t"], kind="stable")]


def _draws(name: str, count: int) -> npt.NDArray[np.int64]:
    """`count` integers, uniform from 0 to 65535, by the name."""
    return np.frombuffer(hashlib.shake_128(name.encode()).digest(2 * count), "<u2").astype(np.int64)
