"""How much energy the machine uses, by what it measures itself: never an estimate; what it does not tell is absent."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from tks_edge_runtime.device import nvml, rails, rapl
from tks_edge_runtime.device.energy_source import EnergySource, Probe
from tks_edge_runtime.device.tree import Tree

_ROOT = Path("/")
_LONGEST_GAP = 1.0
"""In s: a power that could not be read for longer than this is not known, and neither is the energy from then on."""
_COUNTER_PERIOD = 1.0
"""In s: often enough that no counter passes its end twice unseen."""


class EnergyMeter:
    """Measures the energy of each source of this machine while its block runs. For one use.

    The power of a rail is read each `period` in a thread of its own and integrated by the trapezoidal rule; a counter
    is the hardware's own integral, and is only read. The files stay open, and nothing is searched for again;
    `benchmarks/sampling_overhead.py` measures what that does to a latency.

    Args:
        root: the folder that stands for /.
        period: s from one reading of a power to the next.

    Attributes:
        sources: what can be read here; those that are `whole` come first. Empty where the machine tells nothing.
    """

    def __init__(self, root: Path = _ROOT, *, period: float = 0.05) -> None:
        self._tree = Tree(root)
        self._gpus = nvml.open_gpus() if self._tree.live else None
        probes = [*rails.probes(self._tree), *rapl.probes(self._tree), *(self._gpus.probes() if self._gpus else ())]
        gap = max(_LONGEST_GAP, 3 * period)
        readable = [probe for probe in probes if probe.read() is not None]
        self._powers = [Power(probe, gap) for probe in readable if probe.source.kind == "power"]
        self._counters = [Counter(probe) for probe in readable if probe.source.kind == "counter"]
        self.sources: tuple[EnergySource, ...] = tuple(probe.source for probe in readable)
        self._period = period
        self._running = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="energy", daemon=True)

    def read(self) -> dict[str, float]:
        """Return the energy in J since the block was entered, up to now, by the sources' names.

        A source that could not be read in between is absent. After the block it is that of the whole block; before it,
        nothing.
        """
        with self._lock:
            if self._running:
                self._take(self._powers)
                self._take(self._counters)
            return _known({m.source.name: m.joules for m in (*self._powers, *self._counters)})

    def watts(self) -> dict[str, float]:
        """Return the power in W at the last reading, by the sources' names; of a counter, over its last second."""
        with self._lock:
            return _known({m.source.name: m.watts for m in (*self._powers, *self._counters)})

    def mean_watts(self, seconds: float) -> dict[str, float]:
        """Wait, and return the mean power in W meanwhile, by the sources' names.

        Called within the block while nothing runs, it is what the machine uses when idle.
        """
        start, before = time.perf_counter(), self.read()
        time.sleep(seconds)
        end, after = time.perf_counter(), self.read()
        return {name: (after[name] - before[name]) / (end - start) for name in after if name in before}

    def __enter__(self) -> EnergyMeter:
        self._running = True
        self.read()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self.read()
        self._running = False
        self._tree.close()
        if self._gpus is not None:
            self._gpus.close()

    def _watch(self) -> None:
        since_counters = 0.0
        while not self._stopped.wait(self._period):
            since_counters += self._period
            with self._lock:
                self._take(self._powers)
                if since_counters >= _COUNTER_PERIOD:
                    self._take(self._counters)
                    since_counters = 0.0

    @staticmethod
    def _take(meters: list[Power] | list[Counter]) -> None:
        for meter in meters:
            value = meter.probe.read()
            meter.take(time.perf_counter(), value)


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
        if now - start >= _COUNTER_PERIOD:
            self.watts, self._mark = (self.joules - before) / (now - start), (now, self.joules)


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
