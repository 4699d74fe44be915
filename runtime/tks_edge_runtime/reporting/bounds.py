"""What an artifact must keep to be shipped: bounds on latency, accuracy and energy, and how a row misses them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tks_edge_runtime.errors import InputError, unknown
from tks_edge_runtime.reporting.ranking import guesses
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.wording import milliseconds, percentile

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
        percentile: one of `PERCENTILES`: what counts as the latency; None for `Row.typical`.
        prefer: one of `PREFERENCES`; None: accuracy where only latency or energy is bounded, else latency.
        origin: where the bound on accuracy comes from, in words; None where it was asked for.
    """

    max_latency: float | None = None
    min_accuracy: float | None = None
    max_energy: float | None = None
    percentile: str | None = None
    prefer: str | None = None
    origin: str | None = None

    def __post_init__(self) -> None:
        if self.percentile not in (None, *PERCENTILES):
            raise unknown("percentile", str(self.percentile), PERCENTILES)
        if self.prefer is not None and self.prefer not in PREFERENCES:
            raise unknown("preference", self.prefer, PREFERENCES)
        for name in ("max_latency", "min_accuracy", "max_energy"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"{name} is {value}; a number of at least 0 is needed.")

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
        """The latency of a row that is bounded, in ms; None where too few runs tell it."""
        if self.percentile is None:
            return row.typical
        value: float | None = getattr(row.latency, self.percentile, None)
        return value

    def relative_latency(self, row: Row) -> float | None:
        """The same in a unit that it has in common with rows of other turns: what rows are compared by."""
        value = self.latency(row)
        return None if value is None else row.across_turns(value)

    def latency_name(self, row: Row) -> str:
        """What `latency` is of a row: "median", "expected" or a percentile."""
        return self.percentile or row.typical_name

    def words(self) -> str:
        """The bounds in words, for a sentence."""
        parts = []
        if self.max_latency is not None:
            parts.append(f"{self.percentile or 'latency'} of at most {milliseconds(self.max_latency)} ms")
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
    """The measured energy of one inference in mJ; None where nothing told it, or it was no more than idling takes."""
    use = row.main_energy
    return use.mj if use is not None and use.mj > 0 else None


def misses(row: Row, bounds: Bounds) -> list[Miss]:
    """Every bound that the row does not keep; none where it may be shipped."""
    if row.latency is None:
        return [Miss(None, row.reason or "it was not measured")]
    found = [*_latency_miss(row, bounds), *_accuracy_miss(row, bounds), *_energy_miss(row, bounds)]
    if row.foreign is not None:
        found.append(Miss(None, f"it was {row.foreign}"))
    if guesses(row):
        found.append(Miss(None, "its accuracy is no better than guessing"))
    return found


def _latency_miss(row: Row, bounds: Bounds) -> Iterator[Miss]:
    value, name = bounds.latency(row), bounds.latency_name(row)
    if value is None:
        # Without it the row can neither be bounded nor be compared.
        yield Miss(None, f"its {name} is {percentile(row.latency, name)}: measure for longer, with another --preset")
    elif bounds.max_latency is not None and value > bounds.max_latency * (1 + _ROUNDING):
        part = value / bounds.max_latency - 1
        needed = f"{milliseconds(bounds.max_latency)} ms instead of {milliseconds(value)} ({name})"
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
    use, value = row.main_energy, energy_of(row)
    if use is None:
        why = f"only that of {', '.join(one.label for one in row.energy)}" if row.energy else "nothing tells it"
        yield Miss(None, f"its energy on {row.device} was not measured: {why}, and an estimate is no measurement")
    elif value is None:
        yield Miss(
            None, f"its energy ({use.label}) was no more than idling took: measure again, with nothing else running"
        )
    elif bounds.max_energy is not None and value > bounds.max_energy * (1 + _ROUNDING):
        needed = f"{milliseconds(bounds.max_energy)} mJ instead of {milliseconds(value)} ({use.label})"
        yield Miss(value / bounds.max_energy - 1, needed)
