"""The verdict on a spiking network against its ReLU twin, in words."""

from __future__ import annotations

from tks_edge_runtime.reporting.ranking import TOLERATED_LOSS, Reference, ratio
from tks_edge_runtime.reporting.row import MeasuredAccuracy, Row
from tks_edge_runtime.reporting.wording import factor, milliseconds

SAME_SPEED = 0.02
"""Two medians that differ by less than this fraction count as equal: warm-up calls a median steady at the same 2 %."""

VERDICTS = {
    "twin": "the ReLU twin is the better choice here",
    "ship": "the spiking network is the better choice here",
    "tie": "neither is the better choice here",
    "trade": "a trade of latency for accuracy, in which neither is better at both",
}


def against_twin(row: Row, twin: Row | None, rival: Row | None, reference: Reference) -> tuple[str, list[str]]:
    """The verdict, and what the ReLU twins do to it: `rival` decides, and `twin` is what ratios are taken to."""
    if rival is None or twin is None:
        return "ship", [
            "No ReLU twin is in the folder, so whether spiking pays here is open. Train one on the same data with "
            f"`tks-edge train --neuron relu --model {row.model}`, and export it into this folder (--output) with "
            "`tks-edge export --timesteps 1`."
        ]
    if rival.foreign is not None:
        return "ship", [f"The ReLU twin {rival.label} was {rival.foreign}, so whether spiking pays here is open."]
    relative = ratio(rival, row)
    if relative is None or row.accuracy is None or rival.accuracy is None:
        return "ship", [f"The ReLU twin {rival.label} could not be compared: one of the two was not measured."]
    verdict = _verdict(relative, row.accuracy, rival.accuracy, reference)
    named = "The ReLU twin" if rival.variant == row.variant == twin.variant else f"The {rival.variant} ReLU twin"
    found = [
        f"{named} takes {milliseconds(rival.typical)} ms at {rival.accuracy.percent:.2f} %. "
        f"Against it, {row.pace} is {faster(relative)}, with {_accuracy_words(row.accuracy, rival.accuracy)}: "
        f"{VERDICTS[verdict]}."
    ]
    if not reference.held_by(rival.accuracy):
        found.append(f"That twin is more than {TOLERATED_LOSS:g} percentage point below T={row.train_timesteps}.")
    yardstick = ratio(twin, row)
    if twin is not rival and yardstick is not None:
        found.append(
            f"Against the {twin.variant} ReLU twin, at {milliseconds(twin.typical)} ms, it is {faster(yardstick)}."
        )
    return verdict, found


def _verdict(relative: float, mine: MeasuredAccuracy, other: MeasuredAccuracy, reference: Reference) -> str:
    """Who is better, the spiking network (`mine`) or its twin: what may be noise counts as no difference.

    But a twin that does not hold the accuracy that `mine` was chosen for is not better for being faster.

    `relative` is the twin's latency in units of the spiking network's.
    """
    speed = 0 if abs(relative - 1) < SAME_SPEED else 1 if relative > 1 else -1
    accuracy = 0 if mine.within_noise_of(other) else 1 if mine.percent > other.percent else -1
    if speed == accuracy == 0:
        return "tie"
    if speed * accuracy < 0:
        return "trade"
    if speed + accuracy > 0:
        return "ship"
    return "twin" if reference.held_by(other) else "trade"


def _accuracy_words(mine: MeasuredAccuracy, other: MeasuredAccuracy) -> str:
    difference = mine.percent - other.percent
    if difference == 0:
        return "equal accuracy"
    noise = " (within noise)" if mine.within_noise_of(other) else ""
    return f"{abs(difference):.2f} points {'more' if difference > 0 else 'less'} accuracy{noise}"


def faster(relative: float, than: str = "") -> str:
    """How fast something is against another, whose latency in units of its own is `relative`."""
    if abs(relative - 1) < SAME_SPEED:
        return f"as fast as {than}" if than else "as fast"
    words = f"{factor(relative)} times faster" if relative > 1 else f"{factor(1 / relative)} times slower"
    return f"{words} than {than}" if than else words
