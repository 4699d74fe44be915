"""One session under measurement: its warm-up, and its blocks of timed runs."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Sequence
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.anytime import Anytime
from tks_edge_runtime.energy import EnergyLog, energy_doubts
from tks_edge_runtime.measurement import ColdStart, Measurement, Trace, WarmUp, doubts, trace_of
from tks_edge_runtime.session import Session
from tks_edge_runtime.statistics import expected_latency

Array = npt.NDArray[Any]
Timed = Session | Anytime

WARM_UP_SECONDS = 0.2
WARM_UP_RUNS = 10
STEADY = 0.02


class Runner:
    """One session with its rotation of inputs, and what was recorded of it.

    Attributes:
        typical_seconds: the median of its last runs of the warm-up, in s.
    """

    def __init__(self, session: Timed, batches: Sequence[Array], energy: EnergyLog, *, crowded: bool) -> None:
        """`crowded`: it takes turns with others."""
        self._session = session
        self._energy = energy
        self._crowded = crowded
        self._batches, self._rotation = itertools.cycle(batches), len(batches)
        # Plain arrays: a fast network passes a million runs a minute.
        self._e2e, self._compute, self._enqueue, self._copies = array("q"), array("q"), array("q"), array("q")
        self._steps = array("H")
        self._blocks: list[tuple[int, int]] = []
        self._warm_up = WarmUp(0.0, 0, steady=False)
        self.typical_seconds = 0.0

    @property
    def runs(self) -> int:
        """How many runs were timed so far."""
        return len(self._e2e)

    def _run(self) -> int:
        """Run the next input, and return what it took in ns."""
        batch = next(self._batches)
        start = perf_counter_ns()
        self._session.run_batch(batch)
        return perf_counter_ns() - start

    def warm_up(self, limit: float, window: float) -> None:
        """Run until the medians of two consecutive windows differ by less than 2 %.

        At least 200 ms and 10 runs come before the windows.

        Args:
            limit: when the search ends, in s.
            window: the length of a window, in s.
        """
        start = perf_counter_ns()
        durations = self._runs_for(min(WARM_UP_SECONDS, limit), at_least=WARM_UP_RUNS)
        runs, previous, steady = len(durations), math.inf, False
        while not steady and (perf_counter_ns() - start) / 1e9 < limit:
            durations = self._runs_for(window, at_least=1)
            runs += len(durations)
            median = float(np.median(durations))
            steady, previous = abs(median - previous) < STEADY * previous < math.inf, median
        self.typical_seconds = float(np.median(durations)) / 1e9
        self._warm_up = WarmUp((perf_counter_ns() - start) / 1e9, runs, steady)

    def _runs_for(self, seconds: float, *, at_least: int) -> list[int]:
        """Run for a time and a number of runs, and return what each took in ns."""
        end = perf_counter_ns() + int(seconds * 1e9)
        durations: list[int] = []
        while len(durations) < at_least or perf_counter_ns() < end:
            durations.append(self._run())
        return durations

    def time_block(self, seconds: float) -> None:
        """Time runs for `seconds`; after others, one untimed run first refills the caches."""
        if self._crowded:
            self._run()
        before = self.runs
        with self._energy.block() as count:
            cpu, end = process_time_ns(), perf_counter_ns() + int(seconds * 1e9)
            while count.runs == 0 or perf_counter_ns() < end:
                self._e2e.append(self._run())
                self._keep_parts()
                count.runs += 1
            cpu = process_time_ns() - cpu
        self._blocks.append((cpu, self.runs - before))

    def _keep_parts(self) -> None:
        """Keep what the engine says about the last run, between this run and the next."""
        times = self._session.times
        self._compute.append(times.compute)
        if times.enqueue is not None:
            self._enqueue.append(times.enqueue)
        if times.copies is not None:
            self._copies.append(times.copies)
        if isinstance(self._session, Anytime):
            self._steps.append(int(self._session.steps.max()))

    def measurement(self, troubles: Sequence[str]) -> Measurement:
        """Put together what was recorded, and what happened to the machine meanwhile."""
        e2e = Trace.of(self._e2e)
        parts = [trace_of(part, self.runs) for part in (self._compute, self._enqueue, self._copies)]
        energy = self._energy.uses()
        spinning_together = self._crowded and self._session.describe().get("spinning") == "on"
        return Measurement(
            summary=e2e.summary,
            trace_ms=e2e.ms,
            compute=parts[0],
            enqueue=parts[1],
            copies=parts[2],
            cpu_ms=sum(cpu for cpu, _ in self._blocks) / self.runs / 1e6,
            cpu_ms_min=min(cpu / runs for cpu, runs in self._blocks) / 1e6,
            energy=energy,
            cold_start=ColdStart(self._session.load_ms, self._session.first_ms, self._session.build_ms),
            warm_up=self._warm_up,
            warnings=(
                *troubles,
                *doubts(
                    e2e.summary,
                    self._warm_up,
                    *parts,
                    spinning_together=spinning_together,
                    mixed_batches=self._rotation if self._session.length_varies else None,
                ),
                *energy_doubts(energy),
            ),
            unstable=bool(troubles),
            expected_ms=expected_latency(e2e.ms, self._steps) if self._steps else None,
        )
