"""One interleaved run of the GPU check: one engine, on one device, at one T, in a process of its own.

A process of its own gives the device's memory back when it ends, keeps the settings that one library reads from the
environment from another, and if an engine takes it down, the rest of the check goes on.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy.typing as npt

from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.backends import Engine, RunTimes, open_engine
from tks_edge_runtime.errors import TksEdgeError
from tks_edge_runtime.measure import measure, rotation
from tks_edge_runtime.session import Session

TORCH = "torch"
OK, WRONG, NOT_RUN = "ok", "wrong", "not run"
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Job:
    """What one run measures.

    Attributes:
        backend: of `tks_edge_runtime`, or "torch".
        device: of that backend.
        cuda_graphs: whether launches are replayed as one: each artifact is measured once for each.
        files: artifacts, those of one T and the twins.
        seconds: how long each is timed, in s.
        network: for PyTorch, the network's name in `networks.MEASURED`.
        weights: for PyTorch, by neuron.
    """

    backend: str
    device: str
    cuda_graphs: tuple[bool, ...]
    files: tuple[str, ...]
    seconds: float
    network: str = ""
    weights: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """One artifact on one engine. Times in ms, medians of all runs; ratios are to the fp32 twin of the same run.

    Attributes:
        status: "ok"; "wrong": the logits of the golden input are not the network's; "not run", see `problem`.
        difference: how far the logits of the golden input are from the network's, at most.
        tolerance: how far they may be.
        e2e_ms: from the input on the host to the logits on the host.
        compute_ms: the graph alone, as the engine's `describe` says it is timed.
        engine: what the engine says of itself.
    """

    backend: str
    device: str
    cuda_graph: bool
    file: str
    model: str
    is_twin: bool
    precision: str
    timesteps: int
    run_timesteps: int
    status: str = NOT_RUN
    problem: str | None = None
    difference: float | None = None
    tolerance: float | None = None
    runs: int | None = None
    e2e_ms: float | None = None
    e2e_p99_ms: float | None = None
    compute_ms: float | None = None
    enqueue_ms: float | None = None
    copies_ms: float | None = None
    ratio: float | None = None
    compute_ratio: float | None = None
    engine: dict[str, str] | None = None


class _Watched(Session):
    """A session that keeps where the time of its runs went."""

    def __init__(self, artifact: Artifact, engine: Engine, job: Job, load_ms: float) -> None:
        timesteps = artifact.manifest.timesteps
        super().__init__(artifact, engine, backend=job.backend, device=job.device, timesteps=timesteps, load_ms=load_ms)
        self.taken: list[RunTimes] = []

    def run_batch(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run one static batch."""
        logits = super().run_batch(batch)
        self.taken.append(self.times)
        return logits

    def median_ms(self, part: str, last: int) -> float | None:
        """The median of `compute`, `enqueue` or `copies` over the last runs, in ms; None where it is not known."""
        values = [getattr(times, part) for times in self.taken[-last:]]
        return None if None in values else statistics.median(values) / 1e6


def run_apart(job: Job) -> list[Row]:
    """Run a job in a process of its own; where that ends early, rows that say so."""
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(run, job).result()
    except BrokenProcessPool:
        return [replace(row, problem="its process was ended") for _, _, row in _rows(job)]
    except Exception as error:  # whatever a library raised there is this run's result
        return [replace(row, problem=_reason(error)) for _, _, row in _rows(job)]


def run(job: Job) -> list[Row]:
    """Open every artifact, test it, and measure those that are right, in turns."""
    with ExitStack() as stack:
        done: list[Row] = []
        passed: list[tuple[_Watched, Row]] = []
        for artifact, cuda_graph, row in _rows(job):
            try:
                session = _opened(job, artifact, cuda_graph)
                stack.callback(session.close)
                row = _tested(session, row)
            except Exception as error:
                row = replace(row, problem=_reason(error))
            if row.status == OK:
                passed.append((session, row))
            else:
                done.append(row)
        if passed:
            sessions = [session for session, _ in passed]
            measurements = measure(sessions, [rotation(s) for s in sessions], seconds=job.seconds)
            done += [
                _with_times(session, row, measured.summary.n, measured.summary.p50, measured.summary.p99)
                for (session, row), measured in zip(passed, measurements, strict=True)
            ]
    return _with_ratios(done)


def _rows(job: Job) -> Iterator[tuple[Artifact, bool, Row]]:
    """Each artifact with and without a CUDA graph, and its row before anything is known."""
    artifacts = [Artifact.open(file) for file in job.files]
    spiking = [artifact.manifest.timesteps for artifact in artifacts if not artifact.manifest.is_twin]
    for artifact in artifacts:
        manifest = artifact.manifest
        for cuda_graph in job.cuda_graphs:
            row = Row(
                backend=job.backend,
                device=job.device,
                cuda_graph=cuda_graph,
                file=artifact.path.name,
                model=manifest.network.name,
                is_twin=manifest.is_twin,
                precision=manifest.precision.name,
                timesteps=manifest.timesteps,
                run_timesteps=spiking[0] if spiking else 1,
            )
            yield artifact, cuda_graph, row


def _opened(job: Job, artifact: Artifact, cuda_graph: bool) -> _Watched:
    start = perf_counter_ns()
    if job.backend == TORCH:
        engine = _torch_engine(job, artifact, cuda_graph)
    else:
        # Sessions that take turns would slow each other down with threads that wait actively.
        engine = open_engine(artifact.path, job.backend, device=job.device, spinning=False, cuda_graph=cuda_graph)
    return _Watched(artifact, engine, job, (perf_counter_ns() - start) / 1e6)


def _torch_engine(job: Job, artifact: Artifact, cuda_graph: bool) -> Engine:
    from benchmarks.networks import find, load
    from benchmarks.torch_engine import TorchEngine

    neuron = artifact.manifest.network.neuron
    network = load(find(job.network), Path(dict(job.weights)[neuron]), neuron)
    return TorchEngine(network, artifact.manifest, job.device, cuda_graph=cuda_graph)


def _tested(session: _Watched, row: Row) -> Row:
    test = session.self_test()
    wrong = f"the logits differ by {test.max_difference:.3g}, at most {test.tolerance:.3g} is allowed"
    return replace(
        row,
        status=OK if test.passed else WRONG,
        problem=None if test.passed else wrong,
        difference=test.max_difference,
        tolerance=test.tolerance,
        engine=session.describe(),
    )


def _with_times(session: _Watched, row: Row, runs: int, p50: float, p99: float | None) -> Row:
    return replace(
        row,
        runs=runs,
        e2e_ms=p50,
        e2e_p99_ms=p99,
        compute_ms=session.median_ms("compute", runs),
        enqueue_ms=session.median_ms("enqueue", runs),
        copies_ms=session.median_ms("copies", runs),
    )


def _with_ratios(rows: list[Row]) -> list[Row]:
    twins = {(row.model, row.cuda_graph): row for row in rows if row.is_twin and row.precision == "fp32" and row.e2e_ms}
    found = []
    for row in rows:
        twin = twins.get((row.model, row.cuda_graph))
        if twin is None:
            found.append(row)
            continue
        ratio, compute = _ratio(row.e2e_ms, twin.e2e_ms), _ratio(row.compute_ms, twin.compute_ms)
        found.append(replace(row, ratio=ratio, compute_ratio=compute))
    return found


def _ratio(value: float | None, unit: float | None) -> float | None:
    return value / unit if value is not None and unit else None


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, TksEdgeError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_LONGEST_REASON]
