"""What an artifact must keep to be shipped: bounds on latency, accuracy and energy, and how a row misses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tks_edge_runtime.errors import InputError, unknown
from tks_edge_runtime.report.ranking import guesses
from tks_edge_runtime.report.row import Row
from tks_edge_runtime.report.wording import milliseconds, percentile

PERCENTILES = ("p50", "p90", "p95", "p99", "p999")
LATENCY, ACCURACY, ENERGY = "latency", "accuracy", "energy"
PREFERENCES = (LATENCY, ACCURACY, ENERGY)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Bounds:
    """What must be kept, and what is preferred among the rows that keep it.

    Attributes:
        max_latency: in ms, end to end, of the `percentile`.
        min_accuracy: in percent.
        max_energy: in mJ of one inference, measured, idle subtracted.
        percentile: one of `PERCENTILES`: what counts as the latency.
        prefer: one of `PREFERENCES`; None: accuracy where only latency or energy is bounded, else latency.
        origin: where the bound on accuracy comes from, in words; None where it was asked for.
    """

    max_latency: float | None = None
    min_accuracy: float | None = None
    max_energy: float | None = None
    percentile: str = "p50"
    prefer: str | None = None
    origin: str | None = None

    def __post_init__(self) -> None:
        if self.percentile not in PERCENTILES:
            raise unknown("percentile", self.percentile, PERCENTILES)
        if self.prefer is not None and self.prefer not in PREFERENCES:
            raise unknown("preference", self.prefer, PREFERENCES)

    @property
    def preference(self) -> str:
        """What is preferred among the rows that keep the bounds."""
        if self.prefer is not None:
            return self.prefer
        bounded = self.max_latency is not None or self.max_energy is not None
        return ACCURACY if bounded and self.min_accuracy is None else LATENCY

    @property
    def is_empty(self) -> bool:
        """Whether nothing is bounded."""
        return self.max_latency is None and self.min_accuracy is None and self.max_energy is None

    def latency(self, row: Row) -> float | None:
        """The latency of a row that is bounded and compared, in ms; None where too few runs tell it.

        With early exit the mean stands in for the median; see `Row.typical`.
        """
        if self.percentile == "p50":
            return row.typical
        value: float | None = getattr(row.latency, self.percentile, None)
        return value

    def words(self) -> str:
        """The bounds in words, for a sentence."""
        parts = []
        if self.max_latency is not None:
            parts.append(f"{self.percentile} of at most {milliseconds(self.max_latency)} ms")
        if self.min_accuracy is not None:
            parts.append(self.origin or f"accuracy of at least {self.min_accuracy:g} %")
        if self.max_energy is not None:
            parts.append(f"at most {milliseconds(self.max_energy)} mJ")
        return " and ".join(parts)


@dataclass(frozen=True)
class Miss:
    """A bound that a row does not keep: by which part of the bound, and what it would need, in words.

    `part` is None where the row has no such number.
    """

    part: float | None
    need: str


def energy_of(row: Row) -> float | None:
    """The measured energy of one inference in mJ, by the row's first source; None where nothing told it."""
    return row.energy[0].mj if row.energy and row.energy[0].mj > 0 else None


def misses(row: Row, bounds: Bounds) -> list[Miss]:
    """Every bound that the row does not keep; none where it may be shipped."""
    if row.latency is None:
        return [Miss(None, row.reason or "it was not measured")]
    found = [*_latency_miss(row, bounds), *_accuracy_miss(row, bounds), *_energy_miss(row, bounds)]
    if guesses(row):
        found.append(Miss(None, "its accuracy is no better than guessing"))
    return found


def _latency_miss(row: Row, bounds: Bounds) -> Iterator[Miss]:
    value = bounds.latency(row)
    if value is None:
        # Without it the row can neither be bounded nor be compared.
        told = percentile(row.latency, bounds.percentile)
        yield Miss(None, f"its {bounds.percentile} is {told}: measure for longer, with another --preset")
    elif bounds.max_latency is not None and value > bounds.max_latency * (1 + _ROUNDING):
        part = value / bounds.max_latency - 1
        needed = f"{milliseconds(bounds.max_latency)} ms instead of {milliseconds(value)} ({bounds.percentile})"
        yield Miss(part, f"{needed}, {100 * (1 - 1 / (1 + part)):.0f} % less")


def _accuracy_miss(row: Row, bounds: Bounds) -> Iterator[Miss]:
    if row.accuracy is None:
        yield Miss(None, "its accuracy was not measured: export it with an evaluation set")
    elif bounds.min_accuracy is not None and row.accuracy.percent < bounds.min_accuracy - _ROUNDING:
        lacking = bounds.min_accuracy - row.accuracy.percent
        noise = ", within noise of the bound" if row.accuracy.high >= bounds.min_accuracy else ""
        yield Miss(lacking / bounds.min_accuracy, f"{lacking:.2f} points more accuracy than its "
                   f"{row.accuracy.percent:.2f} %{noise}")  # fmt: skip


def _energy_miss(row: Row, bounds: Bounds) -> Iterator[Miss]:
    if bounds.max_energy is None and bounds.preference != ENERGY:
        return
    value = energy_of(row)
    if value is None:
        yield Miss(None, "its energy was not measured: nothing here tells it, and an estimate is no measurement")
    elif bounds.max_energy is not None and value > bounds.max_energy * (1 + _ROUNDING):
        needed = f"{milliseconds(bounds.max_energy)} mJ instead of {milliseconds(value)}"
        yield Miss(value / bounds.max_energy - 1, needed)


def compares(rows: Iterable[Row]) -> bool:
    """Whether the accuracies of all rows were taken on one evaluation set."""
    return len(_sets(rows)) <= 1


def check_sets(rows: Iterable[Row]) -> None:
    """Refuse rows whose accuracies do not compare.

    Raises:
        InputError: they were taken on different evaluation sets.
    """
    sets = _sets(rows)
    if len(sets) > 1:
        raise InputError(
            f"these accuracies do not compare, since they were taken on different sets: {'; '.join(sets.values())}. "
            "Give --network, or measure networks of one data set."
        )


def _sets(rows: Iterable[Row]) -> dict[str, str]:
    """What each evaluation set is, in words, with the network of the first row that has it."""
    found: dict[str, str] = {}
    for row in rows:
        one = row.evaluation
        if one is not None:
            words = f"{row.name} on {one.dataset} {one.split} ({one.samples} samples, {one.identity[:12]})"
            found.setdefault(one.identity, words)
    return found
