"""The latency protocol: single stream, real inputs, warm-up to a steady state, and rounds in the order A B B A.

One session waits for one output before its next input goes in. What is timed is `Session.run_batch`: from an array on
the host to logits on the host.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import STEP, Artifact
from tks_edge_runtime.device import Sampler, instabilities
from tks_edge_runtime.errors import ArtifactError, InputError, unknown
from tks_edge_runtime.measurement import ColdStart, Measurement, WarmUp, doubts
from tks_edge_runtime.session import Session
from tks_edge_runtime.statistics import needed, summarize

Array = npt.NDArray[Any]
Progress = Callable[[float], None]

PRESETS = {"quick": 3.0, "standard": 10.0, "long": 60.0, "mlperf": 600.0}
"""Seconds of timed inference for each artifact, by name."""

_WARM_UP_SECONDS = 0.2
_WARM_UP_RUNS = 10
_WARM_UP_LIMIT = 30.0
_WINDOW_SECONDS = 1.0
_STEADY = 0.02
_BLOCK_SECONDS = 0.1


def preset_seconds(name: str) -> float:
    """Look up how long a preset measures each artifact, in s; InputError with the closest name for an unknown one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def input_batches(session: Session, count: int = 32) -> list[Array]:
    """Return real samples as static batches: the first of the evaluation set, or the golden input where there is none.

    Args:
        session: what will run them.
        count: the most batches that are made; fewer where there are fewer samples, which are then repeated in the last.
    """
    samples = _real_samples(session.artifact)
    size = session.manifest.input.shape[0]
    count = min(count, math.ceil(len(samples) / size))
    return [np.ascontiguousarray(samples[np.arange(i * size, (i + 1) * size) % len(samples)]) for i in range(count)]


def _real_samples(artifact: Artifact) -> Array:
    evaluation = artifact.manifest.evaluation
    has_file = evaluation is not None and evaluation.file is not None
    samples = artifact.evaluation_set()[0] if has_file else artifact.golden()[0]
    if len(samples) == 0:
        raise ArtifactError(f"the data beside {artifact.path} holds no sample. Export it again.")
    return samples


def measure(
    sessions: Sequence[Session],
    batches: Sequence[Sequence[Array]],
    *,
    seconds: float,
    on_progress: Progress | None = None,
    sampler: Sampler | None = None,
) -> list[Measurement]:
    """Measure the latency of several sessions in turns, so that heat and neighbours favour none of them.

    Args:
        sessions: what is measured.
        batches: for each session, real batches to rotate through (`input_batches`).
        seconds: how long each session is timed, in s; its warm-up comes on top.
        on_progress: told the fraction that is done, 0 to 1.
        sampler: a running sampler of the device's state; without one, one of its own runs for this measurement.

    Returns:
        one measurement for each session, in their order.

    Raises:
        InputError: there is nothing to measure.
    """
    if not sessions or len(sessions) != len(batches) or not all(batches) or not seconds > 0:
        raise InputError("nothing to measure: give sessions, real batches for each, and a time greater than 0 s.")
    with contextlib.ExitStack() as stack:
        watcher = stack.enter_context(Sampler()) if sampler is None else sampler
        stack.enter_context(_no_garbage_collection())
        crowded = len(sessions) > 1
        runners = [_Runner(session, rotation, crowded) for session, rotation in zip(sessions, batches, strict=True)]
        progress = _Steps(on_progress, len(runners))
        for runner in runners:
            runner.warm_up(seconds)
            progress.warmed_up()
        start = time.time()
        watcher.snapshot()
        _take_turns(runners, seconds, progress)
        watcher.snapshot()
        troubles = instabilities(watcher.between(start, time.time()))
    return [runner.measurement(troubles) for runner in runners]


def _warm_up_plan(seconds: float) -> tuple[float, float]:
    """The most that a warm-up lasts and how long its windows are, in s, before a measurement of `seconds`.

    They are 30 s and 1 s from the standard preset on. A shorter measurement, as in a quick report of many artifacts, is
    never warmed up for longer than it lasts itself, in windows of a sixth of that.
    """
    if seconds >= PRESETS["standard"]:
        return _WARM_UP_LIMIT, _WINDOW_SECONDS
    return seconds, min(_WINDOW_SECONDS, seconds / 6)


def _take_turns(runners: Sequence[_Runner], seconds: float, progress: _Steps) -> None:
    """Time every runner for `seconds`, one block each in the order A B C, then C B A, and so on."""
    block = max(_BLOCK_SECONDS, *(runner.typical_seconds for runner in runners))
    rounds = max(2, math.ceil(seconds / block))
    rounds += rounds % 2
    for turn in range(rounds):
        for runner in runners if turn % 2 == 0 else reversed(runners):
            runner.time_block(min(block, seconds / rounds))
        progress.measured((turn + 1) / rounds)


class _Runner:
    """One session with its rotation of inputs, and what was recorded of it; `crowded`: it takes turns with others."""

    def __init__(self, session: Session, batches: Sequence[Array], crowded: bool) -> None:
        self._session = session
        self._crowded = crowded
        self._batches = itertools.cycle(batches)
        self._trace_ns: list[int] = []
        self._blocks: list[tuple[int, int]] = []
        self._warm_up = WarmUp(0.0, 0, steady=False)
        self.typical_seconds = 0.0

    def _run(self) -> int:
        """Run the next input, and return what it took in ns."""
        batch = next(self._batches)
        start = perf_counter_ns()
        self._session.run_batch(batch)
        return perf_counter_ns() - start

    def warm_up(self, seconds: float) -> None:
        """Run until the medians of two consecutive windows differ by less than 2 %, for a measurement of `seconds`.

        At least 200 ms and 10 runs come before the windows; `_warm_up_plan` says how long these are, and when the
        search ends.
        """
        limit, window = _warm_up_plan(seconds)
        start = perf_counter_ns()
        durations = self._runs_for(min(_WARM_UP_SECONDS, limit), at_least=_WARM_UP_RUNS)
        runs, previous, steady = len(durations), math.inf, False
        while not steady and (perf_counter_ns() - start) / 1e9 < limit:
            durations = self._runs_for(window, at_least=1)
            runs += len(durations)
            median = float(np.median(durations))
            steady, previous = abs(median - previous) < _STEADY * previous < math.inf, median
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
        cpu = process_time_ns()
        durations = self._runs_for(seconds, at_least=1)
        self._blocks.append((process_time_ns() - cpu, len(durations)))
        self._trace_ns += durations

    def measurement(self, troubles: Sequence[str]) -> Measurement:
        """Put together what was recorded, and what happened to the machine meanwhile."""
        trace = tuple(duration / 1e6 for duration in self._trace_ns)
        summary = summarize(trace)
        spinning_together = self._crowded and self._session.describe().get("spinning") == "on"
        return Measurement(
            summary=summary,
            trace_ms=trace,
            cpu_ms=sum(cpu for cpu, _ in self._blocks) / len(trace) / 1e6,
            cpu_ms_min=min(cpu / runs for cpu, runs in self._blocks) / 1e6,
            cold_start=ColdStart(self._session.load_ms, self._session.first_ms),
            warm_up=self._warm_up,
            warnings=(*troubles, *doubts(summary, self._warm_up, spinning_together=spinning_together)),
            unstable=bool(troubles),
        )


class _Steps:
    """Turns warm-ups and rounds into one fraction that only grows: the warm-ups count as a third."""

    def __init__(self, on_progress: Progress | None, sessions: int) -> None:
        self._on_progress = on_progress or (lambda _: None)
        self._sessions = sessions
        self._warm = 0

    def warmed_up(self) -> None:
        self._warm += 1
        self._on_progress(self._warm / self._sessions / 3)

    def measured(self, fraction: float) -> None:
        self._on_progress((1 + 2 * fraction) / 3)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python's own pauses out of the latencies: nothing that is timed makes cycles."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def method_text(sessions: Sequence[Session], seconds: float) -> list[str]:
    """Say in sentences how `measure` measured these sessions, for a report.

    Args:
        sessions: what was measured.
        seconds: the time for each, in s.
    """
    sizes = sorted({session.manifest.input.shape[0] for session in sessions})
    engines = sorted({_engine_text(session.describe()) for session in sessions})
    limit, window = _warm_up_plan(seconds)
    kind = "Warm-up" if limit == _WARM_UP_LIMIT else "Warm-up, shortened because the measurement is short"
    needs = ", ".join(f"p{p:g} needs {needed(p)}" for p in (90, 95, 99, 99.9))
    block = f"blocks of about {_BLOCK_SECONDS * 1000:.0f} ms (or one run, where that is longer)"
    turns = (
        f"The {len(sessions)} artifacts took turns in one process, in the order A B B A, in {block}; the first run of "
        "each block was not timed, since it pays for the caches that the others used."
        if len(sessions) > 1
        else "The artifact ran alone."
    )
    steps = (
        ["A step graph ran all its timesteps for each inference, from rest, its states staying where it computes."]
        if any(session.manifest.form == STEP for session in sessions)
        else []
    )
    return [
        f"Single stream: one batch of {' or '.join(map(str, sizes))} at a time, the next one after the previous "
        "logits were on the host. Timed was wall time from the input array on the host to the logits on the host.",
        *steps,
        f"Engine: {'; '.join(engines)}.",
        f"{kind}: at least {_WARM_UP_SECONDS * 1000:.0f} ms and {_WARM_UP_RUNS} runs, then until the medians of two "
        f"consecutive windows of {window:g} s differed by less than {_STEADY:.0%}, at most {limit:g} s. Loading and "
        "the first inference are given apart.",
        f"{turns} Each was timed for about {seconds:g} s, on real samples in rotation, Python's garbage "
        "collector off. No outlier was removed.",
        "CPU time is that of the whole process, all threads together, per run: the mean, and the least of all blocks.",
        f"A percentile is given where there are enough samples for it (MLPerf LoadGen's early-stopping rule at 99 % "
        f"confidence): {needs}.",
    ]


def _engine_text(description: dict[str, str]) -> str:
    spinning = f", spinning {description['spinning']}" if "spinning" in description else ""
    precision = f" in {description['inference_precision']}" if "inference_precision" in description else ""
    library = f"{description['library']} {description['version']} on {description['device']}{precision}"
    return f"{library}, threads: {description['threads']}{spinning}"
