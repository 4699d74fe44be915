"""`digits-dvs`: the 1,797 digits of `digits` before a simulated event camera, made when it is opened.

The splits are those of `digits`. Each recording is made by `event_camera` and its name alone, the same on every
machine.
"""

from __future__ import annotations

from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.digits import open_digits
from tks_edge.data.event_camera import SENSOR, record
from tks_edge.data.event_frames import Cutter
from tks_edge.data.recordings import HeldRecordings, recorded
from tks_edge.data.request import Request
from tks_edge.data.uci_digits import uci_digits

_NAME = "digits-dvs"


def open_digits_dvs(request: Request) -> Dataset:
    """Open `digits-dvs`: uint8 counts of events, `[T, 2, 24, 24]`, ten classes.

    Raises:
        MissingError: tonic is not installed.
    """
    images, _ = uci_digits()
    events = record(images, [f"{_NAME}/{index}" for index in range(len(images))])
    recordings = HeldRecordings(events, SENSOR, Cutter(request.timesteps, request.frames.cut, SENSOR), _NAME)
    digits = open_digits()
    splits = [
        Split(recordings, dict(zip(split.indices, split.labels, strict=True)), split.indices)
        for split in digits.splits().values()
    ]
    return recorded(request, None, splits, digits.classes, SENSOR)
