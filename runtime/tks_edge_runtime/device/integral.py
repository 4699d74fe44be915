"""The energy of one source, from readings of its power or of its counter."""

from __future__ import annotations

from tks_edge_runtime.device.energy_source import Probe

COUNTER_SECONDS = 1.0
"""From one reading of a counter to the next: often enough that none passes its end twice unseen."""


class Power:
    """Integrates the power of one source by the trapezoidal rule.

    Args:
        probe: what is read.
        longest_gap: s between two readings beyond which the energy in between is not known, and none from then on.

    Attributes:
        joules: the energy from the first reading to the last, in J; None where one of these could not be read, and
            after a gap.
        time: of the last reading, in s.
    """

    def __init__(self, probe: Probe, longest_gap: float) -> None:
        self.probe = probe
        self.joules: float | None = None
        self.time = 0.0
        self._longest_gap = longest_gap
        self._total = 0.0
        self._last: tuple[float, float] | None = None
        self._lost = False

    def take(self, now: float, watts: float | None) -> None:
        """Add a reading, taken at `now` in s; None where there was nothing to read."""
        self.time = now
        if self._last is None:
            self._lost = self._lost or watts is None
        else:
            before, last = self._last
            self._lost = self._lost or now - before > self._longest_gap
            if watts is not None:
                self._total += (now - before) * (last + watts) / 2
        if watts is not None:
            self._last = now, watts
        self.joules = None if self._lost or watts is None else self._total


class Counter:
    """Follows the energy counter of one source past its end.

    Args:
        probe: what is read.

    Attributes:
        joules: the energy from the first reading to the last, in J; None where one of these could not be read, and
            after the counter started again without a known end.
        time: of the last reading, in s.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.joules: float | None = None
        self.time = 0.0
        self._total = 0.0
        self._last: float | None = None
        self._lost = False

    def take(self, now: float, value: float | None) -> None:
        """Add a reading in J, taken at `now` in s; None where there was nothing to read."""
        self.time = now
        if self._last is None:
            self._lost = self._lost or value is None
        elif value is not None:
            passed = value - self._last
            if passed < 0 and self.probe.wraps_at is not None:
                passed += self.probe.wraps_at
            self._lost = self._lost or passed < 0
            self._total += passed
        if value is not None:
            self._last = value
        self.joules = None if self._lost or value is None else self._total
