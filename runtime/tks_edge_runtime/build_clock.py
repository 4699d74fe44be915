"""How long a backend takes to build an engine, from what it says of its progress."""

from __future__ import annotations

from time import perf_counter_ns

from tks_edge_runtime.backends import BuildProgress


class BuildClock:
    """Hears how far a build is, passes it on, and keeps the time from the first word of it to the last.

    Attributes:
        ms: that time, in ms; None while nothing was heard.
    """

    def __init__(self, then: BuildProgress | None) -> None:
        self.ms: float | None = None
        self._then = then
        self._start = 0

    def __call__(self, stage: str, fraction: float) -> None:
        """Take in one report of the build."""
        if self.ms is None:
            self._start = perf_counter_ns()
        self.ms = (perf_counter_ns() - self._start) / 1e6
        if self._then is not None:
            self._then(stage, fraction)
