"""The energy of one source, from readings of its power or of its counter."""

from __future__ import annotations

from tks_edge_runtime.device.energy_source import Probe

COUNTER_SECONDS = 1.0
"""From one reading of a counter to the next: often enough that none passes its end twice unseen."""


class Power:
    """Integrates the power of one source by the trapezoidal rule.

    Args:
        probe: what is read.
        longest_gap: the s between two readings beyond which the energy in between is not known.

    Attributes:
        joules: the energy since the first reading, in J; None before it, and from a gap on.
        watts: the power at the last reading, in W; None where there was none.
    """

    def __init__(self, probe: Probe, longest_gap: float) -> None:
        self.probe = probe
        self.source = probe.source
        self.joules: float | None = None
        self.watts: float | None = None
        self._longest_gap = longest_gap
        self._time: float | None = None

    def take(self, now: float, watts: float | None) -> None:
        """Add a reading, taken at `now` in s; None where there was nothing to read."""
        if self._time is None or self.watts is None:
            if watts is not None and self._time is None:
                self.joules, self._time, self.watts = 0.0, now, watts
            return
        if now - self._time > self._longest_gap:
            self.joules = self.watts = None
            return
        if watts is not None and self.joules is not None:
            self.joules += (now - self._time) * (self.watts + watts) / 2
            self._time, self.watts = now, watts


class Counter:
    """Follows the energy counter of one source past its end.

    Attributes:
        joules: the energy since the first reading, in J; None before it.
        watts: the mean power in W over the last second or more between two readings; None before there are two.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.source = probe.source
        self.joules: float | None = None
        self.watts: float | None = None
        self._last = 0.0
        self._mark = (0.0, 0.0)

    def take(self, now: float, value: float | None) -> None:
        """Add a reading in J, taken at `now` in s; None where there was nothing to read."""
        if value is None:
            return
        if self.joules is None:
            self.joules, self._mark = 0.0, (now, 0.0)
        else:
            passed = value - self._last
            if passed < 0:
                # A counter that starts again without a known end has lost what it counted: that is no energy.
                passed = passed + self.probe.wraps_at if self.probe.wraps_at is not None else 0.0
            self.joules += max(0.0, passed)
        self._last = value
        start, before = self._mark
        if now - start >= COUNTER_SECONDS:
            self.watts, self._mark = (self.joules - before) / (now - start), (now, self.joules)
