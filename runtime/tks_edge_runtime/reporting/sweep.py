"""A sweep: many candidates measured in interleaved turns, what is finished kept, and one report of all of them.

A turn holds at most `TURN` candidates, so that an interruption costs minutes and a board's memory holds them. One of
them, the anchor, is in every turn: in units of it, latencies of different turns compare. No thread waits actively in
any turn, also where one candidate is all that is missing: what stands in one report was run in one way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tks_edge_runtime.device import facts
from tks_edge_runtime.presets import preset_seconds
from tks_edge_runtime.reporting.bounds import Bounds
from tks_edge_runtime.reporting.build import check_output, made, write_report
from tks_edge_runtime.reporting.candidates import Candidate
from tks_edge_runtime.reporting.collect import Collection, Progress, collect
from tks_edge_runtime.reporting.document import Backend, DeviceStates, ReportDocument
from tks_edge_runtime.reporting.layering import with_layers
from tks_edge_runtime.reporting.mixed import check_sets, check_trainings
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.turns import FOLDER, Identity, Turn, Turns, identity_of

TURN = 12
"""How many candidates are measured in one interleaved run, the anchor among them."""
_DRIFT = 0.05


@dataclass(frozen=True)
class Plan:
    """What a sweep has to do.

    Attributes:
        kept: how many rows are there already, and were not measured while the machine was UNSTABLE.
        turns: the candidates of each turn that is still to be measured.
        unreadable: files among the turns that cannot be read, and why.
    """

    kept: int
    turns: tuple[tuple[Candidate, ...], ...]
    unreadable: tuple[str, ...]


def sweep(
    candidates: Sequence[Candidate],
    output: Path | str,
    *,
    command: str,
    preset: str,
    bounds: Bounds | None = None,
    unexported: Sequence[Row] = (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Progress | None = None,
    on_build: Progress | None = None,
) -> ReportDocument:
    """Measure the candidates that are not measured yet, and write one report of all of them into the folder `output`.

    Args:
        candidates: at least one; the fp32 ReLU twin among them, or else the first, is the anchor, unless what is there
            already has another one.
        output: gets turns/ and the report's files; what stands there of other candidates is left as it is.
        command: the command line that the report names as its own.
        preset: how long each candidate is timed, by name.
        bounds: what the artifact to ship must keep; None: an accuracy within one point of that at T of the training.
        unexported: rows of what could not be exported, for the report.
        on_plan: told the `Plan` before anything is measured.
        on_progress: told the stage, with the number of the turn, and the fraction of it that is done.
        on_build: told how far a build is.

    Raises:
        InputError: no such preset or device, `output` is a file, one name stands for two trainings, or there are
            bounds and the accuracies do not compare.
        MissingError: a backend's library, its driver or the device is missing, or the disk is full.
    """
    output = Path(output)
    turns, identities, plan = planned(candidates, output, preset=preset, bounds=bounds)
    seconds = preset_seconds(preset)
    if on_plan is not None:
        on_plan(plan)
    failed: dict[tuple[object, ...], Row] = {}
    for number, together in enumerate(plan.turns, start=1):
        collection = collect(
            together,
            seconds=seconds,
            on_progress=_numbered(on_progress, number, len(plan.turns)),
            on_build=on_build,
        )
        turns.add(made(collection, command=command, preset=preset))
        of_turn = zip(together, collection.rows, strict=True)
        failed |= {candidate.key: row for candidate, row in of_turn if row.latency is None}
    swept = _together(candidates, identities, turns, failed, unexported)
    document = with_layers(made(swept, command=command, preset=preset, bounds=bounds), candidates, on_progress)
    write_report(document, output, on_build)
    return document


def planned(
    candidates: Sequence[Candidate], output: Path, *, preset: str, bounds: Bounds | None
) -> tuple[Turns, list[Identity], Plan]:
    """What a sweep has to do, before it does any of it; arguments and errors as of `sweep`.

    Returns:
        the turns that are there, what each candidate's numbers depend on, and the plan.
    """
    check_output(output)
    described = [candidate.row() for candidate in candidates]
    check_trainings(described)
    if bounds is not None:
        check_sets(described)
    seconds, machine = preset_seconds(preset), facts()
    turns = Turns(output / FOLDER)
    identities = [identity_of(one, row, seconds, machine) for one, row in zip(candidates, described, strict=True)]
    found = [turns.finished(identity) for identity in identities]
    # What was never measured comes first: on a machine that is always UNSTABLE a sweep would not end otherwise.
    missing = [one for one, kept in zip(candidates, found, strict=True) if kept is None]
    missing += [one for one, kept in zip(candidates, found, strict=True) if kept is not None and kept[1].unstable]
    anchor = _anchor(candidates, identities, _used(turns, found))
    return (
        turns,
        identities,
        Plan(len(candidates) - len(missing), tuple(_turns(missing, anchor)), tuple(turns.unreadable)),
    )


def _numbered(on_progress: Progress | None, number: int, of: int) -> Progress:
    def told(stage: str, fraction: float) -> None:
        if on_progress is not None:
            on_progress(f"turn {number} of {of}: {stage}", fraction)

    return told


Kept = tuple[Turn, Row]
"""A row that is there already, and the turn that it was measured in."""


def _used(turns: Turns, found: Sequence[Kept | None]) -> list[Turn]:
    """The turns of the rows that are there, in their order."""
    return [turn for turn in turns.found if any(kept is not None and kept[0] is turn for kept in found)]


def _anchor(candidates: Sequence[Candidate], identities: Sequence[Identity], used: Sequence[Turn]) -> Candidate:
    """What is in every turn: the fp32 ReLU twin on the first engine, or else the first candidate.

    What all turns that are there have in common goes before it: a twin that was trained later is in none of them.
    """
    held = [[identity for identity, _ in turn.rows] for turn in used]
    common = [
        one
        for one, identity in zip(candidates, identities, strict=True)
        if held and all(identity in of_turn for of_turn in held)
    ]
    manifests = [(one, one.artifact.manifest) for one in common or candidates]
    twins = [one for one, manifest in manifests if manifest.is_twin and manifest.precision.name == "fp32"]
    return (twins or common or list(candidates))[0]


def _turns(missing: Sequence[Candidate], anchor: Candidate) -> Iterator[tuple[Candidate, ...]]:
    """The candidates of each turn, the anchor first."""
    others = [one for one in missing if one != anchor]
    if not others and missing:
        yield (anchor,)
    for start in range(0, len(others), TURN - 1):
        yield (anchor, *others[start : start + TURN - 1])


def _together(
    candidates: Sequence[Candidate],
    identities: Sequence[Identity],
    turns: Turns,
    failed: dict[tuple[object, ...], Row],
    unexported: Sequence[Row],
) -> Collection:
    """Everything that was measured of the candidates, from all turns, as if it had been one."""
    found = [turns.finished(identity) for identity in identities]
    used = _used(turns, found)
    anchors = _anchor_medians(used)
    rows = []
    for candidate, one in zip(candidates, found, strict=True):
        if one is None:
            row = candidate.row()
            rows.append(failed.get(candidate.key, row))
        else:
            turn, row = one
            place = used.index(turn)
            rows.append(replace(row, turn=place, anchor_ms=anchors[place] if anchors else None))
    documents = [turn.document for turn in used]
    return Collection(
        (*rows, *unexported),
        (*_turns_text(documents, anchors), *(line for one in documents for line in one.method)),
        _backends(documents),
        _states(documents),
    )


def _anchor_medians(used: Sequence[Turn]) -> list[float]:
    """The median of one and the same artifact in every turn; none where no artifact is in all of them."""
    if len(used) < 2:
        return []
    for identity, _ in used[0].rows:
        medians = [row.typical for turn in used for found, row in turn.rows if found == identity]
        known = [median for median in medians if median is not None]
        if len(known) == len(used):
            return known
    return []


def _turns_text(documents: Sequence[ReportDocument], anchors: Sequence[float]) -> Iterator[str]:
    if len(documents) < 2:
        return
    begun = f"Measured in {len(documents)} turns, from {documents[0].created} to {documents[-1].created}."
    if not anchors:
        yield f"{begun} No artifact is in all of them, so ratios between rows of different turns are not interleaved."
        return
    drift = max(anchors) / min(anchors) - 1
    yield (
        f"{begun} The rows of a turn were interleaved; one artifact was in every turn, and ratios between turns are "
        f"taken in units of it. Its median differed by up to {drift:.0%} between turns"
        f"{', more than the usual noise: medians of different turns compare only by ratio' if drift > _DRIFT else ''}."
    )


def _backends(documents: Sequence[ReportDocument]) -> tuple[Backend, ...]:
    """Each engine once, in the words of the latest turn."""
    found = {(one.name, one.device, one.threads): one for document in documents for one in document.backends}
    return tuple(found.values())


def _states(documents: Sequence[ReportDocument]) -> DeviceStates:
    if not documents:
        return DeviceStates({}, (), {})
    states = [document.device_state for document in documents]
    return DeviceStates(states[0].before, tuple(one for each in states for one in each.during), states[-1].after)
