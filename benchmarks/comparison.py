"""All variants of one network: made, checked against eager PyTorch, timed in turn, and set against the ReLU twin.

The network lies on a grid on which every spike comes out the same (see `networks`), so a variant that promises the same
spikes must give the network's logits, but for the rounding behind the last neuron. One that does not is wrong, and is
not timed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.interleave import Timing, WorkerError, take_turns, workers
from benchmarks.variants import TWIN, TWIN_AGAIN, Case, Variant
from benchmarks.worker import Job
from tks_edge_runtime.errors import CheckError

Array = npt.NDArray[Any]
Key = tuple[Variant, int]
"""A variant at a number of timesteps."""
Progress = Callable[[str], None]
CLOSE = 1e-4
"""The largest `distance` of logits that are the same. Rounding comes to 4e-6, a state that was lost to 2."""


@dataclass(frozen=True)
class Row:
    """One variant at one T on one number of threads.

    `distance` is that of its logits from the network's. `cpu_ms` is the least of the turns, `wall_ms` that of the runs,
    and the ratios are to the twin's of the same run; all are None where `problem` says why nothing was measured.
    `run_timesteps` is T of the run that it took part in, which is another than its own for the twin alone.
    """

    network: str
    threads: int
    run_timesteps: int
    variant: str
    engine: str
    precision: str
    target: str
    form: str
    exact: bool
    timesteps: int
    problem: str | None
    distance: float | None
    cpu_ms: float | None = None
    wall_ms: float | None = None
    cpu_ratio: float | None = None
    wall_ratio: float | None = None
    timing: Timing = field(default_factory=Timing)


def make(
    case: Case, variants: Sequence[Variant], timesteps: Sequence[int], on_progress: Progress
) -> dict[Key, Job | str]:
    """The job of every variant at every T, or the reason why it could not be made; the twin runs one pass."""
    made: dict[Key, Job | str] = {}
    for variant in variants:
        for t in (1,) if variant.is_twin else timesteps:
            on_progress(f"{case.measured.name}: making {variant.name}, {variant.engine}, {variant.precision}, T={t}")
            try:
                made[variant, t] = variant.job(variant, case, t)
            except Exception as error:  # whatever an exporter raises is this variant's result
                made[variant, t] = _reason(error)
    return made


def one_run(made: Mapping[Key, Job | str], timesteps: int, *, with_twins: bool) -> dict[Key, Job | str]:
    """What takes part in the run at this T: the variants at it, the twin twice, and once every other form of the twin.

    All T at once would be some seventy processes, which a machine of 16 GB does not hold.
    """
    always = (TWIN, TWIN_AGAIN)
    return {
        (variant, t): job
        for (variant, t), job in made.items()
        if variant in always or (with_twins if variant.is_twin else t == timesteps)
    }


def compare(
    case: Case, taking_part: Mapping[Key, Job | str], timesteps: int, threads: int, rounds: int, on_progress: Progress
) -> list[Row]:
    """Check every variant, let those that are right take turns, and set their times against the twin's.

    Args:
        case: the network.
        taking_part: what `one_run` gave.
        timesteps: T of this run.
        threads: inside one operator.
        rounds: turns of every variant.
        on_progress: called with what is being done.

    Raises:
        CheckError: the twin itself could not be measured.
    """
    jobs = {key: dataclasses.replace(job, threads=threads) for key, job in taking_part.items() if isinstance(job, Job)}
    problems = {key: reason for key, reason in taking_part.items() if isinstance(reason, str)}
    name = f"{case.measured.name}, T={timesteps}, {threads} thread{'s' if threads > 1 else ''}"
    distances: dict[Key, float] = {}
    with workers(jobs) as players:
        for key, worker in players.items():
            on_progress(f"{name}: checking {key[0].name}, {key[0].engine}, {key[0].precision}")
            try:
                worker.opened()
                distances[key] = distance(np.asarray(worker.ask(logits=True)["logits"]), case.logits(*key))
            except WorkerError as error:
                problems[key] = str(error)
            if key[0].exact and distances.get(key, 0.0) > CLOSE:
                problems[key] = "its logits are not the network's"
        able = {key: worker for key, worker in players.items() if key not in problems}
        timings, dropped = take_turns(able, rounds, lambda done: on_progress(f"{name}: round {done} of {rounds}"))
    problems |= dropped
    if (TWIN, 1) in problems:
        raise CheckError(f"the ReLU twin of {case.measured.name} cannot be measured: {problems[TWIN, 1]}.")
    rows = []
    for key in taking_part:
        row = _row(case, key, timesteps, threads, problems.get(key), distances.get(key))
        rows.append(_timed(row, timings[key], timings[TWIN, 1]) if key in timings else row)
    return rows


def distance(logits: Array, reference: Array) -> float:
    """How far logits `[M, K]` are from the reference's, for the image where that is most.

    In units of the distance of the reference's own from their mean over the images: 1 is as far as another image. What
    is not finite is 1e9 away.
    """
    spread = np.linalg.norm(reference - reference.mean(axis=0), axis=1)
    far = np.linalg.norm(logits - reference, axis=1) / spread
    return float(np.nan_to_num(far, nan=1e9, posinf=1e9).max())


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {lines[0]}"


def _row(case: Case, key: Key, run_timesteps: int, threads: int, problem: str | None, distance: float | None) -> Row:
    variant, timesteps = key
    return Row(
        network=case.measured.name,
        threads=threads,
        run_timesteps=run_timesteps,
        variant=variant.name,
        engine=variant.engine,
        precision=variant.precision,
        target=variant.target,
        form=variant.form,
        exact=variant.exact,
        timesteps=timesteps,
        problem=problem,
        distance=distance,
    )


def _timed(row: Row, timing: Timing, twin: Timing) -> Row:
    cpu, wall = min(timing.cpu_ms), min(timing.wall_ms)
    return dataclasses.replace(
        row,
        cpu_ms=cpu,
        wall_ms=wall,
        cpu_ratio=cpu / min(twin.cpu_ms),
        wall_ratio=wall / min(twin.wall_ms),
        timing=timing,
    )
