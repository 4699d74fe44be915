"""Measure candidates: self-test, accuracy, and the latency of all of them, taking turns in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from tks_edge_runtime.anytime import AnytimeEvaluation
from tks_edge_runtime.backends import find_backend
from tks_edge_runtime.device import EnergyMeter, Sampler, state
from tks_edge_runtime.energy_estimate import estimated_energy
from tks_edge_runtime.errors import TksEdgeError
from tks_edge_runtime.measure import measure, method_text, rotation
from tks_edge_runtime.measurement import Measurement
from tks_edge_runtime.reporting.candidates import Candidate
from tks_edge_runtime.reporting.document import Backend, DeviceStates
from tks_edge_runtime.reporting.ranking import measured
from tks_edge_runtime.reporting.row import FAILED, OK, Row
from tks_edge_runtime.runner import Timed
from tks_edge_runtime.session import Session

Progress = Callable[[str, float], None]
"""Told which stage is being worked on, in words, and the fraction of it that is done, 0 to 1."""

EVALUATING, MEASURING = "accuracy", "latency"


@dataclass(frozen=True)
class Collection:
    """What was measured: the rows (not ranked yet), how, by what, and the machine's state meanwhile."""

    rows: tuple[Row, ...]
    method: tuple[str, ...]
    backends: tuple[Backend, ...]
    states: DeviceStates


def collect(
    candidates: Sequence[Candidate],
    *,
    seconds: float,
    on_progress: Progress | None = None,
    on_build: Progress | None = None,
    spinning: bool = False,
) -> Collection:
    """Open, test, evaluate and time the candidates; one that fails becomes a row that says so.

    Args:
        candidates: at least one.
        seconds: how long each is timed, in s.
        on_progress: told the stage and the fraction of it that is done.
        on_build: told how far a build is, where a backend builds engines before their first run.
        spinning: whether threads wait actively, which slows down whatever takes turns with them.

    Raises:
        InputError: a backend has no such device.
        MissingError: a backend's library, its driver or the device is missing.
    """
    progress = on_progress or (lambda _stage, _fraction: None)
    for backend, device in dict.fromkeys((one.backend, one.device) for one in candidates):
        find_backend(backend).require(device)
    with ExitStack() as stack:
        opened: list[Timed | None] = []
        rows = []
        for index, candidate in enumerate(candidates):
            evaluated = _fraction(progress, EVALUATING, index, len(candidates))
            with ExitStack() as own:
                timed, row = _examined(candidate, own, evaluated, on_build, spinning=spinning)
                if timed is not None:
                    stack.push(own.pop_all())
            opened.append(timed)
            rows.append(row)
        before = state()
        with Sampler() as sampler:
            measured_rows, method = _timed(opened, rows, seconds, sampler, progress)
        states = DeviceStates(before, tuple(sampler.states), state())
        return Collection(tuple(measured_rows), tuple(method), _backends(candidates, opened), states)


def _fraction(on_progress: Progress, stage: str, index: int, count: int) -> Callable[[float], None]:
    return lambda fraction: on_progress(stage, (index + fraction) / count)


def _backends(candidates: Sequence[Candidate], sessions: Sequence[Timed | None]) -> tuple[Backend, ...]:
    """What ran them, each engine once, in its own words; what differs from row to row stands in the rows."""
    found: dict[tuple[str, str, int | None], dict[str, str]] = {}
    for candidate, session in zip(candidates, sessions, strict=True):
        key = (candidate.backend, candidate.device, candidate.threads)
        description = {} if session is None else session.describe()
        found[key] = found.get(key) or {name: text for name, text in description.items() if name != "cuda_graph"}
    return tuple(Backend(*key, description) for key, description in found.items())


def _examined(
    candidate: Candidate,
    own: ExitStack,
    on_progress: Callable[[float], None],
    on_build: Progress | None,
    *,
    spinning: bool,
) -> tuple[Timed | None, Row]:
    """What is known of a candidate before it is timed: its manifest, its self-test, its accuracy.

    What can be timed is there where all went well; `own` closes what was opened.
    """
    row = candidate.row()
    if row.foreign is not None:
        row = replace(row, warnings=(row.foreign,))
    try:
        session = own.enter_context(candidate.load(spinning=spinning, on_build=on_build))
        row = replace(row, cuda_graph={"on": True, "off": False}.get(session.describe().get("cuda_graph", "")))
        row = _tested(session, row)
        if row.status != OK:
            return None, row
        rule = candidate.early_exit
        timed = session if rule is None else own.enter_context(session.anytime(rule.rule))
        return timed, _evaluated(timed, row, on_progress)
    except TksEdgeError as error:
        return None, replace(row, status=FAILED, reason=str(error))


def _tested(session: Session, row: Row) -> Row:
    test = session.self_test()
    if test.passed:
        return replace(row, status=OK, self_test=test)
    why = f"; it was {row.foreign}" if row.foreign is not None else ""
    reason = (
        f"self-test failed: the logits of the golden input differ by {test.max_difference:.3g} from the trained "
        f"network's (at most {test.tolerance:.3g} is allowed){why}"
    )
    return replace(row, reason=reason, self_test=test)


def _evaluated(timed: Timed, row: Row, on_progress: Callable[[float], None]) -> Row:
    """The row with its accuracy, where there is a set to take it on."""
    evaluation = timed.manifest.evaluation
    if evaluation is None or evaluation.file is None:
        unknown = "no evaluation set beside it, so its accuracy was not measured: export with one"
        return replace(row, warnings=(*row.warnings, unknown))
    result = timed.evaluate(on_progress)
    if isinstance(result, AnytimeEvaluation) and row.early_exit is not None:
        row = replace(
            row,
            early_exit=replace(
                row.early_exit,
                stopped=result.stopped,
                refilled_per_second=result.total / result.seconds if row.batch_size > 1 else None,
            ),
            estimate=estimated_energy(timed.manifest, result.mean_steps),
        )
    recorded = row.recorded_accuracy
    same = None
    # A graph in a lower precision is another network: its own accuracy is what it is.
    if recorded is not None and recorded.total == result.total and row.precision == "fp32":
        same = recorded.correct == result.correct
    return replace(row, accuracy=measured(result.correct, result.total), accuracy_as_trained=same)


def _timed(
    opened: Sequence[Timed | None], rows: Sequence[Row], seconds: float, sampler: Sampler, on_progress: Progress
) -> tuple[list[Row], list[str]]:
    """The rows with the latency of those that passed, and how it was measured."""
    passed = [timed for timed in opened if timed is not None]
    if not passed:
        return list(rows), []
    with EnergyMeter() as energy:
        measurements = iter(
            measure(
                passed,
                [rotation(timed) for timed in passed],
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
    early_exit = row.early_exit
    if early_exit is not None:
        early_exit = replace(early_exit, expected_ms=measurement.expected_ms)
    return replace(
        row,
        early_exit=early_exit,
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
