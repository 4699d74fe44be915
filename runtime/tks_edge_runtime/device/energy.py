"""How much energy the machine uses, by what it measures itself: never an estimate; what it does not tell is absent."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from tks_edge_runtime.device import nvml, rails, rapl
from tks_edge_runtime.device.energy_source import EnergySource
from tks_edge_runtime.device.integral import COUNTER_SECONDS, Counter, Power
from tks_edge_runtime.device.tree import Tree

_ROOT = Path("/")
_LONGEST_GAP = 1.0
"""In s: a power that could not be read for longer than this is not known, and neither is the energy from then on."""

_Integral = Power | Counter


class EnergyMeter:
    """Measures the energy of each source of this machine while its block runs. For one use.

    The power of a rail is read each `period` in a thread of its own and integrated by the trapezoidal rule; a counter
    is the hardware's own integral, and is only read. The files stay open, and nothing is searched for again;
    `benchmarks/sampling_overhead.py` measures what that does to a latency.

    Args:
        root: the folder that stands for /.
        period: s from one reading of a power to the next.

    Attributes:
        sources: what can be read here; those of the whole board come first. Empty where the machine tells nothing.
    """

    def __init__(self, root: Path = _ROOT, *, period: float = 0.05) -> None:
        self._tree = Tree(root)
        self._gpus = nvml.open_gpus() if self._tree.live else None
        probes = [*rails.probes(self._tree), *rapl.probes(self._tree), *(self._gpus.probes() if self._gpus else ())]
        gap = max(_LONGEST_GAP, 3 * period)
        readable = [probe for probe in probes if probe.read() is not None]
        self._powers: list[_Integral] = [Power(probe, gap) for probe in readable if probe.source.kind == "power"]
        self._counters: list[_Integral] = [Counter(probe) for probe in readable if probe.source.kind == "counter"]
        self.sources: tuple[EnergySource, ...] = tuple(probe.source for probe in readable)
        self._tree.close()
        self._period = period
        self._running = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="energy", daemon=True)

    def read(self) -> dict[str, float]:
        """Return the energy in J since the block was entered, up to now, by the sources' names.

        A source that cannot be read now, or could not be for a second in between, is absent. After the block it is
        that of the whole block; before it, nothing.
        """
        return {name: joules for name, (_, joules) in self._readings().items()}

    def mean_watts(self, seconds: float) -> dict[str, float]:
        """Wait, and return the mean power in W meanwhile, by the sources' names.

        Called within the block while nothing runs, it is what the machine uses when idle.
        """
        before = self._readings()
        time.sleep(seconds)
        after = self._readings()
        return {
            name: (after[name][1] - before[name][1]) / (after[name][0] - before[name][0])
            for name in after
            if name in before and after[name][0] > before[name][0]
        }

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

    def _readings(self) -> dict[str, tuple[float, float]]:
        """Return the time in s and the energy in J of a reading that is made now; after the block, of its last."""
        with self._lock:
            if self._running:
                self._take(self._powers)
                self._take(self._counters)
            meters = (*self._powers, *self._counters)
            return {m.probe.source.name: (m.time, m.joules) for m in meters if m.joules is not None}

    def _watch(self) -> None:
        since_counters = 0.0
        while not self._stopped.wait(self._period):
            since_counters += self._period
            with self._lock:
                self._take(self._powers)
                if since_counters >= COUNTER_SECONDS:
                    self._take(self._counters)
                    since_counters = 0.0

    @staticmethod
    def _take(meters: list[_Integral]) -> None:
        for meter in meters:
            value = meter.probe.read()
            meter.take(time.perf_counter(), value)
