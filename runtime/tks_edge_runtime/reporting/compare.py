"""Two reports side by side: which rows belong together, what forbids comparing them, and how they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from string import ascii_uppercase
from typing import Any

from tks_edge_runtime.errors import InputError, unknown
from tks_edge_runtime.reporting.document import Backend, ReportDocument
from tks_edge_runtime.reporting.row import NOT_EXPORTED, Row
from tks_edge_runtime.statistics import Ratio, ratio_of_means, ratio_of_medians

POWER_MODE, METHOD, BACKEND = "power-mode", "method", "backend"
EVALUATION_SET, BATCH_SIZE = "evaluation-set", "batch-size"
ASPECTS = (POWER_MODE, METHOD, BACKEND, EVALUATION_SET, BATCH_SIZE)
"""What two reports must share to be compared, unless told otherwise."""
LEAST_RUNS = 20
"""The runs that both traces need for an interval of their ratio: fewer cannot say how much they vary."""
_DIGITS = 12


@dataclass(frozen=True)
class Difference:
    """Something that two reports do not share, and that makes their numbers differ for reasons of its own.

    `letter` is what the second report is called.
    """

    aspect: str
    what: str
    a: str
    b: str
    letter: str = "B"

    def __str__(self) -> str:
        return f"{self.what}: A {self.a}, {self.letter} {self.b}"


@dataclass(frozen=True)
class Pair:
    """Two rows that belong together: `same_file` by their hash, otherwise by what they say about themselves."""

    a: Row
    b: Row
    same_file: bool

    @property
    def title(self) -> str:
        """The rows in words: `digits T=2 fp32`."""
        return self.a.title

    @property
    def typical_name(self) -> str:
        """What the two are compared by: "median", or of early exit "mean", as both are in their traces."""
        return "median" if self.a.early_exit is None else "mean"

    @property
    def ratio(self) -> float | None:
        """B's typical end-to-end latency in units of A's, where both were measured."""
        if self.a.latency is None or self.b.latency is None:
            return None
        a, b = (one.p50 if self.typical_name == "median" else one.mean for one in (self.a.latency, self.b.latency))
        return b / a if a else None

    @cached_property
    def interval(self) -> Ratio | None:
        """B's typical end-to-end latency in units of A's, with its interval; None where a trace has too few runs."""
        if any(row.traces is None or row.latency is None or row.latency.n < LEAST_RUNS for row in self):
            return None
        of = ratio_of_medians if self.typical_name == "median" else ratio_of_means
        return of(self.b.trace_ms, self.a.trace_ms)

    def __iter__(self) -> Iterator[Row]:
        return iter((self.a, self.b))


@dataclass(frozen=True)
class Comparison:
    """Two reports, the rows that belong together, those that have no counterpart, and what was allowed to differ.

    `letter` is what the second report is called: B, or of several C and so on.
    """

    a: ReportDocument
    b: ReportDocument
    pairs: tuple[Pair, ...]
    only_a: tuple[Row, ...]
    only_b: tuple[Row, ...]
    differences: tuple[Difference, ...]
    letter: str = "B"


Named = tuple[Comparison, tuple[str, str]]
"""A comparison, and what its two reports are called."""


def compare(a: ReportDocument, b: ReportDocument, *, allow: Collection[str] = (), letter: str = "B") -> Comparison:
    """Set two reports side by side.

    Args:
        a: the first report, in units of which ratios are.
        b: the second.
        allow: the aspects, of `ASPECTS`, in which they may differ.
        letter: what the second is called.

    Raises:
        InputError: no row of one stands in the other, they differ in what is not allowed, or there is no such aspect.
    """
    for name in allow:
        if name not in ASPECTS:
            raise unknown("aspect to allow", name, ASPECTS)
    pairs, only_a, only_b = matched(a.rows, b.rows)
    if not pairs:
        several = _several_engines(a.rows, b.rows)
        held, others = (_listed(report.rows, engines=several) for report in (a, b))
        raise InputError(
            f"no row of A stands in {letter}: A holds {held}; {letter} holds {others}. Compare reports of the same "
            "networks at the same T, precision, form and target, on the same engines where one report has several, "
            "and early exit with early exit."
        )
    found = (*_of_reports(a, b, pairs), *_of_pairs(pairs))
    differences = tuple(dataclasses.replace(difference, letter=letter) for difference in found)
    refused = [difference for difference in differences if difference.aspect not in allow]
    if refused:
        aspects = ",".join(dict.fromkeys(difference.aspect for difference in refused))
        raise InputError(
            f"these reports do not compare. {'; '.join(map(str, refused))}. Measure both alike, or compare all the "
            f"same with --allow {aspects} (--anyway allows everything)."
        )
    return Comparison(a, b, pairs, only_a, only_b, differences, letter)


def letters(count: int) -> list[str]:
    """What `count` reports after A are called: B, C and so on.

    Raises:
        InputError: there are more than letters.
    """
    if count >= len(ascii_uppercase):
        raise InputError(f"{count + 1} reports are too many to compare; give at most {len(ascii_uppercase)}.")
    return [*ascii_uppercase[1 : count + 1]]


def matched(a: Iterable[Row], b: Iterable[Row]) -> tuple[tuple[Pair, ...], tuple[Row, ...], tuple[Row, ...]]:
    """The rows of two reports that belong together, in A's order, and those of A and of B that have no counterpart.

    The same file goes before a file that says the same about itself: name, T, precision, form, target. Both were run
    in the same way: with a CUDA graph or without, with early exit or without, and on the same engine where one of the
    reports has several. Where each has one, the engines may be what one compares.
    """
    first, second = list(a), list(b)
    several = _several_engines(first, second)
    found: dict[int, Pair] = {}
    for same_file in (True, False):
        key = partial(_key, same_file=same_file, by_engine=several)
        for row in first:
            # What could not be exported has no file.
            if id(row) in found or (same_file and row.sha256 is None):
                continue
            other = next((other for other in second if key(other) == key(row)), None)
            if other is not None:
                found[id(row)] = Pair(row, other, same_file)
                second.remove(other)
    pairs = tuple(found[id(row)] for row in first if id(row) in found)
    return pairs, tuple(row for row in first if id(row) not in found), tuple(second)


def _key(row: Row, *, same_file: bool, by_engine: bool) -> tuple[object, ...]:
    """What two rows that belong together share: what was run, and how."""
    described = row.name, row.is_twin, row.timesteps, row.precision, row.form, row.target
    # Not `row.engine`, which a row has only where its own report has several.
    engine = (row.backend, row.device) if by_engine else None
    what = (row.sha256, row.timesteps) if same_file else described
    return what, engine, bool(row.cuda_graph), row.early_exit is not None


def _engines(rows: Iterable[Row]) -> list[str]:
    """What the rows ran on; those that could not be exported ran on nothing."""
    return list(dict.fromkeys(f"{row.backend} {row.device}" for row in rows if row.status != NOT_EXPORTED))


def _several_engines(*reports: Iterable[Row]) -> bool:
    return any(len(_engines(rows)) > 1 for rows in reports)


def _listed(rows: Iterable[Row], *, engines: bool) -> str:
    rows = list(rows)
    titles = ", ".join(row.title for row in rows)
    return f"{titles}, measured on {' and '.join(_engines(rows))}" if engines else titles


def _of_reports(a: ReportDocument, b: ReportDocument, pairs: Sequence[Pair]) -> Iterator[Difference]:
    def fact(name: str) -> Callable[[ReportDocument], Any]:
        return lambda report: report.machine.get(name)

    def described(name: str) -> Callable[[ReportDocument], Any]:
        return engines(lambda engine: engine.description.get(name))

    def engines(read: Callable[[Backend], Any]) -> Callable[[ReportDocument], Any]:
        """Of one engine its value; of several a list of those that rows in both reports ran on."""
        shared = {(row.backend, row.device) for pair in pairs for row in pair}

        def of(report: ReportDocument) -> Any:
            several = len(report.backends) > 1
            kept = [one for one in report.backends if not several or (one.name, one.device) in shared]
            values = [read(engine) for engine in sorted(kept, key=lambda one: (one.name, one.device))]
            return values[0] if len(values) == 1 else values

        return of

    read: tuple[tuple[str, str, Callable[[ReportDocument], Any]], ...] = (
        (POWER_MODE, "power mode", fact("power_mode")),
        (POWER_MODE, "CPU governors", fact("governors")),
        (POWER_MODE, "turbo", fact("turbo")),
        (METHOD, "preset", lambda report: report.preset),
        (METHOD, "seconds a row", lambda report: report.seconds),
        (BACKEND, "backend", engines(lambda engine: engine.name)),
        (BACKEND, "device", engines(lambda engine: engine.device)),
        (BACKEND, "threads", engines(lambda engine: engine.threads)),
        (BACKEND, "spinning", described("spinning")),
        (BACKEND, "inference precision", described("inference_precision")),
    )
    for aspect, what, value in read:
        if value(a) != value(b):
            missing = "the library's choice" if what == "threads" else "unknown"
            yield Difference(aspect, what, _written(value(a), missing), _written(value(b), missing))


def _of_pairs(pairs: Iterable[Pair]) -> Iterator[Difference]:
    """What differs between rows that belong together: each difference once, whatever the number of rows."""
    found: dict[Difference, None] = {}
    for pair in pairs:
        sets = [row.evaluation for row in pair]
        if sets[0] is not None and sets[1] is not None and sets[0].identity != sets[1].identity:
            names = (
                f"{one.dataset} {one.split} ({one.samples} samples, {one.identity[:_DIGITS]})" for one in sets if one
            )
            found[Difference(EVALUATION_SET, "evaluation set", *names)] = None
        elif pair.a.classes != pair.b.classes:
            names = (f"{len(row.classes)} classes ({', '.join(row.classes[:3])}, ...)" for row in pair)
            found[Difference(EVALUATION_SET, f"classes of {pair.title}", *names)] = None
        if pair.a.batch_size != pair.b.batch_size:
            found[Difference(BATCH_SIZE, "batch size", *(str(row.batch_size) for row in pair))] = None
    yield from found


def _written(value: Any, missing: str) -> str:
    if value is None:
        return missing
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return ", ".join(_written(entry, missing) for entry in value) if isinstance(value, list) else str(value)
