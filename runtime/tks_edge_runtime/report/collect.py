"""Measure every artifact of a folder: self-test, accuracy, and the latency of all of them, taking turns in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.backends import find_device, foreign_target
from tks_edge_runtime.device import EnergyMeter, Sampler, state
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.measure import input_batches, measure, method_text
from tks_edge_runtime.measurement import Measurement
from tks_edge_runtime.report.document import FAILED, OK, Backend, DeviceStates, Row
from tks_edge_runtime.report.ranking import measured
from tks_edge_runtime.session import Session, load

Progress = Callable[[str, float], None]
"""Told which stage is being worked on, in words, and the fraction of it that is done, 0 to 1."""

EVALUATING, MEASURING = "accuracy", "latency"


@dataclass(frozen=True)
class Collection:
    """What was measured: the rows (not ranked yet), how, by what, and the machine's state meanwhile."""

    rows: tuple[Row, ...]
    method: tuple[str, ...]
    backend: Backend
    states: DeviceStates


def collect(
    artifacts: Sequence[Artifact],
    *,
    backend: str,
    device: str | None,
    threads: int | None,
    cuda_graph: bool,
    seconds: float,
    on_progress: Progress,
    on_build: Progress | None = None,
) -> Collection:
    """Open, test, evaluate and time the artifacts; one that fails its self-test becomes a row that says so.

    Args:
        artifacts: at least one.
        backend: what runs them all.
        device: where it computes; None for its first.
        threads: threads inside one operator; None leaves the number to the library.
        cuda_graph: whether each is measured twice, without and with a CUDA graph.
        seconds: how long each is timed, in s.
        on_progress: told the stage and the fraction of it that is done.
        on_build: told how far a build is, where the backend builds engines before their first run.

    Raises:
        ArtifactError: an artifact, its golden pair or its evaluation set is damaged or missing.
        InputError: there is no such backend or device, or it has no CUDA graphs.
        MissingError: the backend's library, its driver or the device is missing.
    """
    device = find_device(backend, device)
    with ExitStack() as stack:
        # Sessions that take turns would slow each other down with threads that wait actively.
        spinning = len(artifacts) == 1 and not cuda_graph
        sessions = [
            stack.enter_context(
                load(
                    artifact.path,
                    backend,
                    device=device,
                    threads=threads,
                    spinning=spinning,
                    cuda_graph=replayed,
                    on_build=on_build,
                )
            )
            for artifact in artifacts
            for replayed in ((False, True) if cuda_graph else (False,))
        ]
        rows = []
        for index, session in enumerate(sessions):
            rows.append(_examined(session, _fraction(on_progress, EVALUATING, index, len(sessions))))
        before = state()
        with Sampler() as sampler:
            rows, method = _timed(sessions, rows, seconds, sampler, on_progress)
        states = DeviceStates(before, tuple(sampler.states), state())
        # What differs from row to row stands in the rows.
        description = {name: text for name, text in sessions[0].describe().items() if name != "cuda_graph"}
        return Collection(tuple(rows), tuple(method), Backend(backend, device, threads, description), states)


def _fraction(on_progress: Progress, stage: str, index: int, count: int) -> Callable[[float], None]:
    return lambda fraction: on_progress(stage, (index + fraction) / count)


def _examined(session: Session, on_progress: Callable[[float], None]) -> Row:
    """What is known of an artifact before it is timed: its manifest, its self-test, its accuracy."""
    row = _described(session)
    foreign = foreign_target(row.target, row.backend, session.device)
    if foreign is not None:
        row = replace(row, warnings=(foreign,))
    test = session.self_test()
    if not test.passed:
        reason = (
            f"self-test failed: the logits of the golden input differ by {test.max_difference:.3g} from the trained "
            f"network's (at most {test.tolerance:.3g} is allowed){f'; it was {foreign}' if foreign is not None else ''}"
        )
        return replace(row, status=FAILED, reason=reason, self_test=test)
    row = replace(row, self_test=test)
    evaluation = session.manifest.evaluation
    if evaluation is None or evaluation.file is None:
        unknown = "no evaluation set beside it, so its accuracy was not measured: export with one"
        return replace(row, warnings=(*row.warnings, unknown))
    result = session.evaluate(on_progress)
    recorded = row.recorded_accuracy
    same = None
    # A graph in a lower precision is another network: its own accuracy is what it is.
    if recorded is not None and recorded.total == result.total and row.precision == "fp32":
        same = recorded.correct == result.correct
    return replace(row, accuracy=measured(result.correct, result.total), accuracy_as_trained=same)


def _described(session: Session) -> Row:
    manifest, path = session.manifest, session.artifact.path
    return Row(
        file=path.name,
        sha256=sha256_of(path),
        name=manifest.name,
        model=manifest.network.name,
        neuron=manifest.network.neuron,
        is_twin=manifest.is_twin,
        timesteps=session.timesteps,
        train_timesteps=manifest.train_timesteps,
        precision=manifest.precision.name,
        form=manifest.form,
        target=manifest.target,
        backend=session.backend,
        device=session.device,
        cuda_graph={"on": True, "off": False}.get(session.describe().get("cuda_graph", "")),
        batch_size=manifest.input.shape[0],
        size_bytes=path.stat().st_size,
        parameters=manifest.network.parameters,
        classes=manifest.classes,
        evaluation=manifest.evaluation,
        status=OK,
        reason=None,
        self_test=None,
        recorded_accuracy=manifest.accuracy_at(session.timesteps),
        recorded_train_accuracy=manifest.accuracy_at(manifest.train_timesteps),
    )


def _timed(
    sessions: Sequence[Session], rows: Sequence[Row], seconds: float, sampler: Sampler, on_progress: Progress
) -> tuple[list[Row], list[str]]:
    """The rows with the latency of those that passed, and how it was measured."""
    passed = [session for session, row in zip(sessions, rows, strict=True) if row.status == OK]
    if not passed:
        return list(rows), []
    with EnergyMeter() as energy:
        measurements = iter(
            measure(
                passed,
                [input_batches(session) for session in passed],
                seconds=seconds,
                on_progress=lambda fraction: on_progress(MEASURING, fraction),
                sampler=sampler,
                energy=energy,
            )
        )
        method = method_text(passed, seconds, energy)
    return [_with_latency(row, next(measurements)) if row.status == OK else row for row in rows], method


def _with_latency(row: Row, measurement: Measurement) -> Row:
    compute, enqueue, copies = (
        None if part is None else part.summary
        for part in (measurement.compute, measurement.enqueue, measurement.copies)
    )
    return replace(
        row,
        latency=measurement.summary,
        compute=compute,
        enqueue=enqueue,
        copies=copies,
        cpu_ms=measurement.cpu_ms,
        cpu_ms_min=measurement.cpu_ms_min,
        energy=measurement.energy,
        cold_start=measurement.cold_start,
        warm_up=measurement.warm_up,
        warnings=(*row.warnings, *measurement.warnings),
        unstable=measurement.unstable,
        traces=measurement.traces(),
    )
