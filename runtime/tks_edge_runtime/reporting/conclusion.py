"""What the rows say, in sentences: which T to ship, what it costs against T_train, and whether the ReLU twin wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tks_edge_runtime.artifact import STATIC, STEP
from tks_edge_runtime.reporting.document import Conclusion
from tks_edge_runtime.reporting.ranking import (
    TOLERATED_LOSS,
    Reference,
    chance,
    groups,
    guesses,
    like_at_train,
    lowered,
    ratio,
    reference_of,
    rival_of,
    twin_of,
)
from tks_edge_runtime.reporting.row import OK, EarlyExit, MeasuredAccuracy, Row
from tks_edge_runtime.reporting.verdict import VERDICTS, against_twin, faster
from tks_edge_runtime.reporting.wording import energy, interval, milliseconds

FEW_TIMESTEPS = 2
"""Early exit is held against static graphs of at most so many."""


def conclude(rows: Iterable[Row]) -> tuple[Conclusion, ...]:
    """One conclusion for each network and precision among the (ranked) rows."""
    rows = tuple(rows)
    return tuple(_conclusion(group, rows) for group in groups(rows))


def _conclusion(group: tuple[Row, ...], rows: tuple[Row, ...]) -> Conclusion:
    first = group[0]
    reference = reference_of(group, rows)
    row = next((row for row in group if row.recommended), None)
    if reference is None or row is None or row.accuracy is None:
        headline = f"No timestep count can be recommended for {first.name} ({first.precision})"
        return Conclusion(first.name, first.precision, "none", None, None, headline, tuple(_why_none(group, reference)))
    twin, rival = twin_of(row, rows), rival_of(row, rows)
    verdict, about_twin = against_twin(row, twin, rival, reference)
    sentences = [
        *_accuracy(row, row.accuracy, reference, group),
        *_latency(row, like_at_train(row, group, reference)),
        *_other_targets(row, group),
        *_step_by_step(group),
        *_early_exit(group),
        *_energy(row, like_at_train(row, group, reference), rival),
        *about_twin,
        *_doubts(row, twin, rival),
    ]
    headline = f"{row.name} ({row.variant}): {row.pace} holds its accuracy"
    if verdict == "twin":
        headline += f", but {VERDICTS[verdict]}"
    return Conclusion(row.name, row.precision, verdict, row.file, row.timesteps, headline, tuple(sentences))


def _why_none(group: tuple[Row, ...], reference: Reference | None) -> list[str]:
    failed = [row for row in group if row.status != OK]
    train = group[0].train_timesteps
    found = []
    if failed:
        found.append(f"Failed: {', '.join(row.label for row in failed)}.")
    if all(row.accuracy is None for row in group):
        if len(failed) < len(group):
            found.append("There is no evaluation set beside the artifacts, so their accuracy was not measured here.")
    elif reference is None:
        found.append(
            f"The accuracy at T={train}, at which it was trained, is neither recorded nor measurable here: "
            f"put its artifact into the folder (`tks-edge export --timesteps {train}`)."
        )
    elif guessing := [row for row in group if guesses(row)]:
        found += [_guess(row, row.accuracy) for row in guessing if row.accuracy is not None]
    found += [
        f"{row.label} holds the accuracy at T={train}, but was {row.foreign}."
        for row in group
        if row.foreign is not None and row.accuracy is not None
        if reference is not None and reference.held_by(row.accuracy) and not guesses(row)
    ]
    if not found and reference is not None:
        found.append(
            f"No T in the folder is within {TOLERATED_LOSS:g} percentage point of the accuracy at T={train} "
            f"({_stated(reference.accuracy)}){_source(reference)}."
        )
    return found


def _guess(row: Row, accuracy: MeasuredAccuracy) -> str:
    return (
        f"At T={row.timesteps} ({row.variant}) the accuracy is no better than guessing: {_stated(accuracy)}, where "
        f"naming one of the {len(row.classes)} classes at random gives {chance(row):.2f} %."
    )


def _source(reference: Reference) -> str:
    return "" if reference.row is not None else ", whose accuracy was recorded at export and not measured here"


def _stated(accuracy: MeasuredAccuracy) -> str:
    return f"{accuracy.percent:.2f} %, 95 % interval {interval(accuracy)}"


def _accuracy(row: Row, accuracy: MeasuredAccuracy, reference: Reference, group: tuple[Row, ...]) -> list[str]:
    """How accurate the recommended row is, against the accuracy at T_train."""
    train = row.train_timesteps
    fitting = " on the engine it was lowered for" if any(other.foreign is not None for other in group) else ""
    held = f"within {TOLERATED_LOSS:g} percentage point of T={train}"
    of = f"{_other_variant(reference.row, row)}{_source(reference)}"
    found = [
        f"{row.pace} is the fastest in the folder{fitting} {held}{of}."
        if not row.as_trained
        else f"Nothing faster in the folder{fitting} is {held}, as trained."
    ]
    if reference.row is row:
        return [*found, f"Accuracy {_stated(accuracy)}, {accuracy.total} samples."]
    stated, difference = _stated(reference.accuracy), _compared(accuracy, reference.accuracy)
    return [*found, f"Accuracy {_stated(accuracy)}, against {stated}: {difference}."]


def _compared(accuracy: MeasuredAccuracy, other: MeasuredAccuracy) -> str:
    """The difference of two accuracies in points, and whether it is more than noise."""
    if accuracy.percent == other.percent:
        return f"the same on {accuracy.total} samples"
    gained = accuracy.percent - other.percent
    low, high = accuracy.difference(other)
    noise = "within noise" if accuracy.within_noise_of(other) else "more than noise"
    return (
        f"{abs(gained):.2f} points {'more' if gained > 0 else 'less'}, {noise} (95 % interval of the difference "
        f"{low:+.2f} to {high:+.2f}; one of the {accuracy.total} samples is {100 / accuracy.total:.2f})"
    )


def _latency(row: Row, train: Row | None) -> list[str]:
    """How fast the recommended row is, against T_train."""
    stated = f"Latency {milliseconds(row.typical)} ms ({row.typical_name}, end to end, batch {row.batch_size})"
    relative = ratio(train, row)
    if train is None or row.as_trained or relative is None:
        return [f"{stated}."]
    at_train = f"{milliseconds(train.typical)} ms at T={train.timesteps}{_other_variant(train, row)}"
    return [f"{stated}, against {at_train}: {faster(relative)}."]


def _other_variant(other: Row | None, row: Row) -> str:
    return "" if other is None or other.variant == row.variant else f" ({other.variant})"


def _other_targets(row: Row, group: tuple[Row, ...]) -> list[str]:
    """The graphs of the recommended T for other targets: slower, less accurate, or for another engine than ran them."""
    if row.early_exit is not None:
        return []
    same = (row.timesteps, row.form)
    others = [r for r in group if r is not row and (r.timesteps, r.form) == same and r.typical is not None]
    stated = "; ".join(
        f"{r.variant} {milliseconds(r.typical)} ms"
        + (f" ({r.accuracy.percent:.2f} %)" if r.accuracy is not None and r.accuracy != row.accuracy else "")
        + (f", {r.foreign}" if r.foreign is not None else "")
        for r in others
    )
    return [f"Also at T={row.timesteps}: {stated}."] if others else []


def _step_by_step(group: tuple[Row, ...]) -> list[str]:
    """What it costs to run step after step, so as to be able to stop after any, instead of one static graph."""
    found = []
    for stepped in (row for row in group if row.form == STEP and row.early_exit is None):
        same = (stepped.timesteps, STATIC, *lowered(stepped)[1:])
        static = next((row for row in group if (row.timesteps, *lowered(row)) == same), None)
        relative = ratio(static, stepped)
        if relative is not None:
            found.append(
                f"Step by step ({stepped.label}), T={stepped.timesteps} takes {milliseconds(stepped.typical)} ms: "
                f"{faster(relative, 'one static graph')}."
            )
    return found


def _early_exit(group: tuple[Row, ...]) -> Iterator[str]:
    """What stopping early gives, against static graphs of few timesteps, whichever way it falls out."""
    for row in group:
        found = row.early_exit
        if found is None or found.mean_steps is None or row.accuracy is None or row.latency is None:
            continue
        statics = [
            f"{faster(relative, f'static T={other.timesteps}')}, whose accuracy is {other.accuracy.percent:.2f} %"
            for other in group
            if other.form == STATIC and other.timesteps <= FEW_TIMESTEPS and other.accuracy is not None
            if (relative := ratio(other, row)) is not None and _same_engine(other, row)
        ]
        against = f": {'; '.join(statics)}" if statics else ""
        lasting = "" if row.batch_size == 1 else f" for a batch of {row.batch_size}, until its last sample stops"
        yield (
            f"Early exit ({row.label}, {found.measure} {found.threshold:.4g}) stops after {found.mean_steps:.2f} steps "
            f"a sample on average, with accuracy {_stated(row.accuracy)}, and is expected to take "
            f"{milliseconds(row.typical)} ms{lasting}, the rule included{against}."
        )
        yield from _refilled(row, found, group)


def _refilled(row: Row, found: EarlyExit, group: tuple[Row, ...]) -> Iterator[str]:
    """How many samples a second there are where those that stop leave their batch, against static graphs."""
    if found.refilled_per_second is None:
        return
    statics = [
        f"{other.latency.throughput * other.batch_size:.0f} of {other.label}"
        for other in group
        if other.form == STATIC and other.timesteps <= FEW_TIMESTEPS and other.latency is not None
        if _same_engine(other, row)
    ]
    against = f", against {' and '.join(statics)}" if statics else ""
    yield (
        f"Where a sample that stops leaves its place in the batch to the next one, {row.label} passes "
        f"{found.refilled_per_second:.0f} samples a second over the evaluation set, once and without warm-up{against}."
    )


def _same_engine(row: Row, other: Row) -> bool:
    return (row.backend, row.device) == (other.backend, other.device)


def _energy(row: Row, train: Row | None, rival: Row | None) -> list[str]:
    """What the recommended row takes in energy, against T_train and the ReLU twin by the same source."""
    use = row.main_energy
    if use is None or use.mj <= 0:
        return []
    others = [
        f"{energy(its)} mJ {name}"
        for other, name in ((train, f"at T={row.train_timesteps}"), (rival, "for the ReLU twin"))
        if other is not None and other is not row and (its := other.energy_by(use.source)) is not None and its.mj > 0
    ]
    against = f", against {' and '.join(others)}" if others else ""
    return [f"Energy {energy(use)} mJ ({use.label}; idle subtracted){against}."]


def _doubts(row: Row, *twins: Row | None) -> list[str]:
    found = []
    unstable = dict.fromkeys(r.label for r in (row, *twins) if r is not None and r.unstable)
    if unstable:
        found.append(
            f"Measured while UNSTABLE: {', '.join(unstable)}. Measure again before relying on these latencies."
        )
    if row.accuracy_as_trained is False:
        found.append(f"The accuracy of {row.file} differs from the trained network's: run `tks-edge verify` on it.")
    return found
