"""How the rows stand among each other: twins, ratios, the Pareto front, and the fastest that holds its accuracy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from tks_edge_runtime import statistics
from tks_edge_runtime.artifact import FORMS, GENERIC
from tks_edge_runtime.reporting.row import NOT_EXPORTED, OK, MeasuredAccuracy, Row

TOLERATED_LOSS = 1.0
"""How far below the accuracy at T_train a recommended T may lie, in percentage points."""
_ROUNDING = 1e-9
_YARDSTICK = "fp32"
"""The precision of the twin that every latency is given in units of."""


@dataclass(frozen=True)
class Reference:
    """The accuracy at T_train that smaller T are held against, and its row (None: the manifest's record)."""

    accuracy: MeasuredAccuracy
    row: Row | None

    def held_by(self, accuracy: MeasuredAccuracy) -> bool:
        """Whether an accuracy is at most `TOLERATED_LOSS` below."""
        return accuracy.percent >= self.accuracy.percent - TOLERATED_LOSS - _ROUNDING


def measured(correct: int, total: int) -> MeasuredAccuracy:
    """`correct` of `total` as percent, with the 95 % Wilson interval."""
    low, high = statistics.wilson(correct, total)
    return MeasuredAccuracy(correct, total, 100 * correct / total, 100 * low, 100 * high)


def ranked(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The same rows with `twin`, `ratio_to_twin`, `pareto` and `recommended` filled in."""
    rows = _told_apart(tuple(rows))
    front = {row.key for row in rows if on_front(row, rows)}
    chosen = {row.key for group in groups(rows) if (row := recommended(group, rows)) is not None}
    return tuple(
        dataclasses.replace(
            row,
            twin=twin.file if (twin := twin_of(row, rows)) is not None else None,
            ratio_to_twin=ratio(row, twin),
            pareto=row.key in front,
            recommended=row.key in chosen,
        )
        for row in rows
    )


def _told_apart(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows with their `engine`, where there are several."""
    places = {_engine(row) for row in rows if row.status != NOT_EXPORTED}
    devices = {backend: {device for name, device in places if name == backend} for backend, _ in places}
    if len(places) < 2:
        return tuple(dataclasses.replace(row, engine=None) for row in rows)
    return tuple(
        dataclasses.replace(
            row, engine=row.backend + (f" {row.device}" if len(devices.get(row.backend, ())) > 1 else "")
        )
        for row in rows
    )


def groups(rows: Iterable[Row]) -> list[tuple[Row, ...]]:
    """The spiking rows, one group for each network and precision: all forms, all targets, sorted by T."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if not row.is_twin:
            key = (row.name, row.model, row.weights_sha256, row.train_timesteps, row.precision, comparable(row))
            found.setdefault(key, []).append(row)
    return [tuple(sorted(group, key=lambda row: row.timesteps)) for group in found.values()]


def comparable(row: Row) -> tuple[object, ...]:
    """What two rows must share for their accuracies to be comparable: the evaluation set and the classes."""
    return (row.evaluation.identity if row.evaluation is not None else None, row.classes)


def twin_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """The measured ReLU twin that a spiking row's latency is given in units of: the fp32 one, where there is one.

    So the ratios of all precisions have one unit. Else the twin of the row's own precision goes before others; of
    several, one on the engine it was lowered for, then one with a CUDA graph where the row has one and without where it
    has none, then the most accurate, then the fastest. A twin is the same network, on the same evaluation set.
    """
    return _twin(row, rows, (_YARDSTICK, row.precision), same_engine=False)


def rival_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """The measured ReLU twin that a spiking row has to be better than: that of its own precision, where there is one.

    A network in int8 does not win by being faster than another in fp32, nor by a faster engine: of several, the one on
    the row's own engine. Else as `twin_of`.
    """
    return _twin(row, rows, (row.precision, _YARDSTICK), same_engine=True)


def _twin(row: Row, rows: Iterable[Row], precisions: tuple[str, ...], *, same_engine: bool) -> Row | None:
    """The best twin, of the first of `precisions` before the next, and of these before any other."""
    if row.is_twin:
        return None
    twins = [
        t for t in rows if t.is_twin and t.status == OK and t.model == row.model and comparable(t) == comparable(row)
    ]
    return min(
        twins,
        key=lambda t: (
            precisions.index(t.precision) if t.precision in precisions else len(precisions),
            t.foreign is not None,
            same_engine and _engine(t) != _engine(row),
            t.cuda_graph != row.cuda_graph,
            -t.accuracy.percent if t.accuracy is not None else 0.0,
            relative_latency(t),
        ),
        default=None,
    )


def ratio(row: Row | None, other: Row | None) -> float | None:
    """The typical latency of `row` in units of `other`'s; across turns, of each in units of its turn's anchor."""
    if row is None or other is None or row.typical is None or not other.typical:
        return None
    return row.across_turns(row.typical) / other.across_turns(other.typical)


def relative_latency(row: Row) -> float:
    """What rows are sorted by, the fastest first: the typical latency, across turns; infinite where there is none."""
    return math.inf if row.typical is None else row.across_turns(row.typical)


def on_front(row: Row, rows: Iterable[Row]) -> bool:
    """Whether no comparable row is at least as fast and as accurate, and better in one of the two.

    Rows on another engine than they were lowered for do not count.
    """
    mine = _point(row)
    if mine is None:
        return False
    others = [point for other in rows if comparable(other) == comparable(row) and (point := _point(other)) is not None]
    return not any(point != mine and point[0] <= mine[0] and point[1] >= mine[1] for point in others)


def _point(row: Row) -> tuple[float, float] | None:
    if row.typical is None or row.accuracy is None or row.foreign is not None:
        return None
    return relative_latency(row), row.accuracy.percent


def lowered(row: Row) -> tuple[object, ...]:
    """What two rows must share for their latencies to differ by T alone: form, target, engine, how they are run."""
    return row.form, row.target, _engine(row), row.cuda_graph


def _engine(row: Row) -> tuple[str, str]:
    return row.backend, row.device


def reference_of(group: tuple[Row, ...], rows: Iterable[Row]) -> Reference | None:
    """The accuracy at T_train of a network: measured in this report where its artifact is here, else the recorded one.

    An artifact of the same precision goes before one of another, then a static one before a step one, and a generic one
    before one that was lowered for a target.
    """
    first = group[0]
    at_train = [
        row
        for row in rows
        if row.accuracy is not None
        and not row.is_twin
        and row.early_exit is None
        and (row.name, row.model, row.weights_sha256) == (first.name, first.model, first.weights_sha256)
        and row.timesteps == row.train_timesteps == first.train_timesteps
        and comparable(row) == comparable(first)
    ]
    best = min(
        at_train,
        key=lambda row: (
            row.precision != first.precision,
            row.precision,
            row.foreign is not None,
            FORMS.index(row.form),
            row.target != GENERIC,
            row.target,
            bool(row.cuda_graph),
        ),
        default=None,
    )
    if best is not None and best.accuracy is not None:
        return Reference(best.accuracy, best)
    recorded = first.recorded_train_accuracy
    return Reference(measured(recorded.correct, recorded.total), None) if recorded is not None else None


def like_at_train(row: Row, group: tuple[Row, ...], reference: Reference) -> Row | None:
    """The row of all T_train steps to hold the latency of `row` against: lowered alike, else the reference's."""
    same = (r for r in group if r.as_trained and lowered(r) == lowered(row))
    return next((r for r in same if r.typical is not None), reference.row)


def recommended(group: tuple[Row, ...], rows: Iterable[Row]) -> Row | None:
    """The fastest row that holds the accuracy at T_train, on an engine it was lowered for; of equals, the smaller T.

    None where the accuracy at T_train is lost by all, or where all are no better than guessing: that loses nothing.
    """
    reference = reference_of(group, rows)
    if reference is None:
        return None
    able = (row for row in group if row.foreign is None and not guesses(row))
    held = [row for row in able if row.accuracy is not None and reference.held_by(row.accuracy)]
    return min(held, key=lambda row: (relative_latency(row), row.timesteps), default=None)


def guesses(row: Row) -> bool:
    """Whether the accuracy was measured and is no better than naming classes at random."""
    return row.accuracy is not None and statistics.guesses(row.accuracy.correct, row.accuracy.total, len(row.classes))


def chance(row: Row) -> float:
    """The accuracy of naming classes at random, in percent."""
    return 100 / len(row.classes)
