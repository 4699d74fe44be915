"""The one artifact to ship: of the rows that keep the bounds the best, the next one, and what the nearest miss needs.

The ReLU twin is a candidate like any other: where it is the better choice, it is the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tks_edge_runtime.errors import unknown
from tks_edge_runtime.reporting.bounds import ACCURACY, ENERGY, LATENCY, Bounds, Miss, energy_of, misses
from tks_edge_runtime.reporting.document import Answer
from tks_edge_runtime.reporting.mixed import check_sets, check_trainings
from tks_edge_runtime.reporting.ranking import TOLERATED_LOSS, comparable, groups, ratio, reference_of, rival_of
from tks_edge_runtime.reporting.row import OK, Row
from tks_edge_runtime.reporting.verdict import SAME_SPEED
from tks_edge_runtime.reporting.wording import energy, factor, interval, milliseconds

_SHOWN_MISSES = 3


def _filled(bounds: Bounds, rows: Sequence[Row]) -> Bounds:
    """The bounds; where they bound nothing, an accuracy within one point of the best there is at T of the training."""
    if not bounds.is_empty:
        return bounds
    references = [
        (found.accuracy.percent, group[0].train_timesteps)
        for group in groups(rows)
        if (found := reference_of(group, rows)) is not None
    ]
    if not references:
        return bounds
    best, trained = max(references)
    floor = max(0.0, best - TOLERATED_LOSS)
    origin = f"accuracy within {TOLERATED_LOSS:g} point of T={trained} (at least {floor:.2f} %)"
    return replace(bounds, min_accuracy=floor, origin=origin)


def selected(rows: Sequence[Row], *, network: str | None) -> tuple[Row, ...]:
    """The rows of one network, by the name it was exported under, with the ReLU twins on its evaluation set.

    Raises:
        InputError: there is no such network, it stands for two trainings, or the accuracies do not compare.
    """
    if network is not None:
        names = {row.name for row in rows if not row.is_twin}
        if network not in names:
            raise unknown("network", network, names)
        sets = {comparable(row) for row in rows if row.name == network}
        rows = [row for row in rows if row.name == network or (row.is_twin and comparable(row) in sets)]
    check_trainings(rows)
    check_sets(rows, "Give --network, or measure networks of one data set.")
    return tuple(rows)


def pick(rows: Sequence[Row], bounds: Bounds | None = None, *, spiking_only: bool = False) -> Answer:
    """Choose among rows of a report.

    Args:
        rows: ranked, all of one report.
        bounds: what must be kept; None, or where it bounds nothing: an accuracy within one point of that at T_train.
        spiking_only: whether the ReLU twins are no candidates.

    Raises:
        InputError: the accuracies of the rows do not compare.
    """
    check_sets(rows)
    bounds = _filled(bounds or Bounds(), rows)
    missed = {place: misses(row, bounds) for place, row in enumerate(rows) if not (spiking_only and row.is_twin)}
    kept = sorted((place for place in missed if not missed[place]), key=lambda place: _merit(rows[place], bounds))
    near = [place for place in _nearest(missed) if rows[place].status == OK]
    needs = tuple(f"{rows[place].title} {_needs(missed[place])}." for place in near[:_SHOWN_MISSES])
    if not kept:
        asked = bounds.words()
        headline = f"Nothing here has {asked}" if asked else "Nothing here can be shipped"
        return Answer(asked, bounds.preference, None, None, headline, (), needs)
    best, second = rows[kept[0]], rows[kept[1]] if len(kept) > 1 else None
    sentences = [
        _why(best, len(kept), len(missed), bounds),
        *_numbers(best, bounds),
        *_doubts(best, bounds),
        *_against_twin(best, rows, [rows[place] for place in kept], bounds),
        *_second(best, second, bounds),
        *_tempting(best, [rows[place] for place in near], bounds),
    ]
    runner_up = kept[1] if second is not None else None
    return Answer(bounds.words(), bounds.preference, kept[0], runner_up, f"Ship {best.title}", tuple(sentences), needs)


def _merit(row: Row, bounds: Bounds) -> tuple[float, ...]:
    """What rows are sorted by, the best first; of equals the smaller T."""
    latency = bounds.relative_latency(row)
    accuracy = row.accuracy.percent if row.accuracy is not None else 0.0
    by = {
        LATENCY: math.inf if latency is None else latency,
        ACCURACY: -accuracy,
        ENERGY: energy_of(row) or math.inf,
    }
    first = by.pop(bounds.preference)
    return (first, *by.values(), row.timesteps)


def _nearest(missed: dict[int, list[Miss]]) -> list[int]:
    """The places of rows that miss a bound, the nearest first: what counts is their worst miss."""
    worst = {
        place: max(math.inf if miss.part is None else miss.part for miss in found)
        for place, found in missed.items()
        if found
    }
    return sorted(worst, key=lambda place: worst[place])


def _needs(found: Sequence[Miss]) -> str:
    return " and ".join(f"needs {miss.need}" if miss.part is not None else f"is out: {miss.need}" for miss in found)


def _why(best: Row, kept: int, of: int, bounds: Bounds) -> str:
    superlative = {LATENCY: "fastest", ACCURACY: "most accurate", ENERGY: "most frugal"}[bounds.preference]
    asked = bounds.words()
    if kept == 1:
        return f"{best.title} is the only one of {of} rows with {asked}." if asked else "It is the only one measured."
    return f"The {superlative} of {kept} rows{f' with {asked}' if asked else ''}, of {of} in all."


def _numbers(row: Row, bounds: Bounds) -> Iterator[str]:
    name, use = bounds.latency_name(row), row.main_energy
    told = f"{row.file}: {name} {milliseconds(bounds.latency(row))} ms, end to end, batch {row.batch_size}"
    if row.accuracy is not None:
        told += f"; accuracy {row.accuracy.percent:.2f} % (95 % interval {interval(row.accuracy)})"
    yield told + (f"; {energy(use)} mJ ({use.label})." if use is not None else ".")


def _doubts(row: Row, bounds: Bounds) -> Iterator[str]:
    accuracy = row.accuracy
    if accuracy is not None and bounds.min_accuracy is not None and accuracy.low < bounds.min_accuracy:
        yield (
            f"Its accuracy is within noise of the bound: the interval of {accuracy.total} samples reaches from "
            f"{accuracy.low:.2f} to {accuracy.high:.2f} %."
        )
    if row.unstable:
        yield "It was measured while the machine was throttled or slowed down (UNSTABLE): measure again."


def _against_twin(best: Row, rows: Sequence[Row], kept: Sequence[Row], bounds: Bounds) -> Iterator[str]:
    """What the ReLU twin has to say, whichever of the two was chosen."""
    if best.is_twin:
        yield "That is the plain ReLU network: for these bounds no spiking one here is the better choice."
        place = next((place for place, row in enumerate(kept) if not row.is_twin), None)
        if place is not None and place > 1:  # else it is the runner-up
            yield f"The best spiking one is {kept[place].title}, {_beside(kept[place], best, bounds)}."
        return
    rival = rival_of(best, rows)
    relative = ratio(best, rival)
    if rival is None or relative is None:
        yield "No ReLU twin was measured beside it, so whether spiking pays here is open."
    else:
        percent = "" if rival.accuracy is None else f" at {rival.accuracy.percent:.2f} %"
        yield (
            f"Its {best.typical_name} latency is {factor(relative)} times the {rival.typical_name} of the "
            f"{rival.variant} ReLU twin{percent}."
        )


def _second(best: Row, second: Row | None, bounds: Bounds) -> Iterator[str]:
    if second is not None:
        also = " and the best spiking one" if best.is_twin and not second.is_twin else ""
        turns = " (measured in another turn, and compared in units of what both turns share)"
        apart = turns if second.turn != best.turn else ""
        yield f"Runner-up{also}: {second.title}, {_beside(second, best, bounds)}{apart}."


def _tempting(best: Row, near: Sequence[Row], bounds: Bounds) -> Iterator[str]:
    """Rows below the bound on accuracy by no more than noise, which would otherwise be the better choice."""
    floor = bounds.min_accuracy
    if floor is None:
        return
    for row in near:
        only = misses(row, replace(bounds, min_accuracy=None, prefer=bounds.preference))
        accuracy = row.accuracy
        if only or accuracy is None or accuracy.high < floor or _merit(row, bounds) >= _merit(best, bounds):
            continue
        yield (
            f"{row.title} misses the accuracy by {floor - accuracy.percent:.2f} points, within noise of the bound, and "
            f"is {_beside(row, best, bounds)}."
        )
        return


def _beside(row: Row, other: Row, bounds: Bounds) -> str:
    """A row against another in words: its latency, its accuracy, and its energy where that is preferred."""
    found = [
        _times(
            bounds.relative_latency(row), bounds.relative_latency(other), "times as slow", "times as fast", "as fast"
        )
    ]
    if row.accuracy is not None and other.accuracy is not None:
        gained = row.accuracy.percent - other.accuracy.percent
        noise = ", within noise" if row.accuracy.within_noise_of(other.accuracy) and gained else ""
        words = f"{abs(gained):.2f} points {'more' if gained > 0 else 'less'} accurate{noise}"
        found.append(words if gained else "as accurate")
    if bounds.preference == ENERGY:
        found.append(
            _times(energy_of(row), energy_of(other), "times the energy", "times less energy", "the same energy")
        )
    return ", ".join(filter(None, found))


def _times(mine: float | None, other: float | None, more: str, less: str, same: str) -> str:
    if not mine or not other:
        return ""
    relative = mine / other
    if abs(relative - 1) < SAME_SPEED:
        return same
    return f"{factor(relative)} {more}" if relative > 1 else f"{factor(1 / relative)} {less}"
