"""How a recording of an event camera becomes T frames, and how fewer of them are made."""

from __future__ import annotations

from dataclasses import dataclass

from tks_edge_runtime.errors import unknown

CUTS = ("time", "events")
FIRST, REBIN = "first", "rebin"
FEWER = (FIRST, REBIN)


@dataclass(frozen=True)
class FrameSettings:
    """How a recording becomes frames: counts of events in each pixel, one channel a polarity.

    Attributes:
        cut: what each of the T frames gets the same share of: "time", the duration, or "events", their number.
        fewer: what a T below that of the training sees: "first", the first of the frames, or "rebin", the whole
            recording cut into fewer frames.
    """

    cut: str = "time"
    fewer: str = FIRST

    def __post_init__(self) -> None:
        if self.cut not in CUTS:
            raise unknown("way to cut frames:", self.cut, CUTS)
        if self.fewer not in FEWER:
            raise unknown("way to fewer frames:", self.fewer, FEWER)
