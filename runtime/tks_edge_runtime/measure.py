"""The latency protocol: single stream, real inputs, warm-up to a steady state, and rounds in the order A B B A.

One session waits for one output before its next input goes in. What is timed is `Session.run_batch`: from an array on
the host to logits on the host.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.device import Sampler, instabilities
from tks_edge_runtime.energy import EnergyLog, Meter
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.measurement import Measurement
from tks_edge_runtime.method import block_seconds, idle_seconds, method_text, warm_up_plan
from tks_edge_runtime.presets import least_runs
from tks_edge_runtime.runner import Runner, Timed

Array = npt.NDArray[Any]
Progress = Callable[[float], None]

__all__ = [
    "Progress",
    "artifact_batches",
    "measure",
    "method_text",
    "rotation",
]

MIXED_SAMPLES = 256
"""The fewest samples in rotation, where the set has so many and the length of a run depends on them."""


def rotation(timed: Timed) -> list[Array]:
    """Return the real batches that something is timed on.

    Where a run is as long as its samples need, there are so many that their mix of steps stands for that of the set.
    """
    if not timed.length_varies:
        return artifact_batches(timed.artifact)
    return artifact_batches(timed.artifact, math.ceil(MIXED_SAMPLES / timed.manifest.input.shape[0]))


def artifact_batches(artifact: Artifact, count: int = 32) -> list[Array]:
    """Return real samples as static batches: of the evaluation set, or the golden input where there is none.

    Where there are more samples than are taken, these are evenly spaced, so that sorted classes all have their share.

    Args:
        artifact: what will run on them.
        count: the most batches that are made; fewer where there are fewer samples, which are then repeated in the last.
    """
    samples = _real_samples(artifact)
    size = artifact.manifest.input.shape[0]
    count = min(count, math.ceil(len(samples) / size))
    chosen = np.linspace(0, len(samples) - 1, min(count * size, len(samples)), dtype=int)
    rows = chosen[np.arange(count * size) % len(chosen)].reshape(count, size)
    return [np.ascontiguousarray(samples[batch]) for batch in rows]


def _real_samples(artifact: Artifact) -> Array:
    evaluation = artifact.manifest.evaluation
    has_file = evaluation is not None and evaluation.file is not None
    samples = artifact.evaluation_set()[0] if has_file else artifact.golden()[0]
    if len(samples) == 0:
        raise ArtifactError(f"the data beside {artifact.path} holds no sample. Export it again.")
    return samples


def measure(
    sessions: Sequence[Timed],
    batches: Sequence[Sequence[Array]],
    *,
    seconds: float,
    on_progress: Progress | None = None,
    sampler: Sampler | None = None,
    energy: Meter | None = None,
) -> list[Measurement]:
    """Measure the latency of several sessions in turns, so that heat and neighbours favour none of them.

    Args:
        sessions: what is measured.
        batches: for each session, real batches to rotate through (`rotation`).
        seconds: how long each session is timed, in s; its warm-up comes on top. From the time of the `mlperf` preset
            on, each is timed for longer where it would otherwise have fewer runs than LoadGen asks for.
        on_progress: told the fraction that is done, 0 to 1.
        sampler: a running sampler of the device's state; without one, one of its own runs for this measurement.
        energy: an entered meter, which is read around each block; None measures no energy.

    Returns:
        one measurement for each session, in their order.

    Raises:
        InputError: there is nothing to measure.
    """
    if not sessions or len(sessions) != len(batches) or not all(batches) or not seconds > 0:
        raise InputError("nothing to measure: give sessions, real batches for each, and a time greater than 0 s.")
    if energy is not None and not energy.sources:
        energy = None
    with contextlib.ExitStack() as stack:
        watcher = stack.enter_context(Sampler()) if sampler is None else sampler
        stack.enter_context(_no_garbage_collection())
        idle = {} if energy is None else energy.mean_watts(idle_seconds(seconds))
        runners = [
            Runner(session, rotation, EnergyLog(energy, idle), crowded=len(sessions) > 1)
            for session, rotation in zip(sessions, batches, strict=True)
        ]
        progress = _Steps(on_progress, len(runners))
        for runner in runners:
            runner.warm_up(*warm_up_plan(seconds))
            progress.warmed_up()
        start = time.time()
        watcher.snapshot()
        _take_turns(runners, seconds, block_seconds(seconds, energy), progress)
        watcher.snapshot()
        troubles = instabilities(watcher.between(start, time.time()))
    return [runner.measurement(troubles) for runner in runners]


def _take_turns(runners: Sequence[Runner], seconds: float, least_block: float, progress: _Steps) -> None:
    """Time every runner for `seconds`, one block each in the order A B C, then C B A, and so on."""
    block = max(least_block, *(runner.typical_seconds for runner in runners))
    rounds = max(2, math.ceil(seconds / block))
    rounds += rounds % 2
    turn = 0
    while turn < rounds or min(runner.runs for runner in runners) < least_runs(seconds):
        for runner in runners if turn % 2 == 0 else reversed(runners):
            runner.time_block(min(block, seconds / rounds))
        turn += 1
        progress.measured(min(1.0, turn / rounds))


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
