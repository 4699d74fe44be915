"""The table of the page: its cells as text, and what a script needs to sort and filter them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tks_edge_runtime.reporting.columns import COLUMNS, Column, columns_of
from tks_edge_runtime.reporting.row import OK, Row

_STATUS = next(column for column in COLUMNS if column.key == "status")
_AT_A_GLANCE, _BEFORE = ("status", "marks"), "accuracy"
_LEADING_NUMBER = re.compile(r"-?\d[\d ]*(?:\.\d+)?")


@dataclass(frozen=True)
class Cell:
    """One cell: its column's key, its text, and of a number its full precision (None: there is none)."""

    key: str
    text: str
    value: str | None
    numeric: bool


@dataclass(frozen=True)
class Line:
    """One row of the table: its place in the document, its cells, its CSS classes, and its values for the filters."""

    place: int
    row: Row
    cells: tuple[Cell, ...]
    classes: str
    choices: dict[str, str]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why it failed, and its warnings."""
        return (*([self.row.reason] if self.row.reason is not None else []), *self.row.warnings)


@dataclass(frozen=True)
class Filter:
    """A choice among the values that rows have: its key, what it says, and the values."""

    key: str
    label: str
    values: tuple[str, ...]


def page_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns of the page: those of the report, with the status, and what to see at a glance before the numbers."""
    columns = {column.key: column for column in (*columns_of(rows), _STATUS)}
    first = [columns.pop(key) for key in _AT_A_GLANCE]
    place = list(columns).index(_BEFORE)
    rest = tuple(columns.values())
    return (*rest[:place], *first, *rest[place:])


def lines_of(rows: Sequence[Row], columns: Sequence[Column]) -> list[Line]:
    """The rows of the table, in the order of the document."""
    sources = list(dict.fromkeys(use.source for row in rows for use in row.energy))
    numbers = {**_NUMBERS, **{f"energy-{index}": _energy(source) for index, source in enumerate(sources)}}
    return [
        Line(
            place,
            row,
            tuple(_cell(column, row, numbers.get(column.key)) for column in columns),
            _classes(row),
            {key: value(row) for key, (_, value) in _CHOICES.items()},
        )
        for place, row in enumerate(rows)
    ]


def filters_of(lines: Iterable[Line]) -> list[Filter]:
    """What there is to choose from: only where the rows differ."""
    lines = list(lines)
    found = []
    for key, (label, _) in _CHOICES.items():
        values = sorted({line.choices[key] for line in lines}, key=_naturally)
        if len(values) > 1:
            found.append(Filter(key, label, tuple(values)))
    return found


def _naturally(value: str) -> tuple[int, str]:
    return (int(value), "") if value.isdecimal() else (1 << 31, value)


def _classes(row: Row) -> str:
    marks = {
        "failed": row.status != OK,
        "recommended": row.recommended,
        "unstable": row.unstable,
        "is-twin": row.is_twin,
        "warned": bool(row.warnings),
    }
    return " ".join(name for name, given in marks.items() if given)


def _cell(column: Column, row: Row, number: _Number | None) -> Cell:
    text = column.cell(row)
    if not column.numeric:
        return Cell(column.key, text, None, numeric=False)
    value = number(row) if number is not None else _leading_number(text)
    return Cell(column.key, text, None if value is None else json.dumps(value), numeric=True)


def _leading_number(text: str) -> float | None:
    """The number that a cell begins with: what a column without a value of its own is sorted by."""
    found = _LEADING_NUMBER.match(text)
    return float(found[0].replace(" ", "")) if found is not None else None


_Number = Callable[[Row], "float | None"]


def _statistic(name: str, part: str = "latency") -> _Number:
    def number(row: Row) -> float | None:
        summary = getattr(row, part)
        value: float | None = None if summary is None else getattr(summary, name)
        return value

    return number


def _cold(name: str) -> _Number:
    def number(row: Row) -> float | None:
        value: float | None = None if row.cold_start is None else getattr(row.cold_start, name)
        return value

    return number


def _energy(source: str) -> _Number:
    return lambda row: use.mj if (use := row.energy_by(source)) is not None else None


_NUMBERS: dict[str, _Number] = {
    "timesteps": lambda row: None if row.is_twin else row.timesteps,
    "accuracy": lambda row: None if row.accuracy is None else row.accuracy.percent,
    "ratio": lambda row: row.ratio_to_twin,
    "steps": lambda row: row.early_exit.mean_steps if row.early_exit is not None else None,
    "estimate": lambda row: row.estimate.mj if row.estimate is not None else None,
    "cpu": lambda row: row.cpu_ms,
    "size": lambda row: row.size_bytes,
    "parameters": lambda row: row.parameters,
    "compute": _statistic("p50", "compute"),
    "compute_p90": _statistic("p90", "compute"),
    "compute_p99": _statistic("p99", "compute"),
    "enqueue": _statistic("p50", "enqueue"),
    "copies": _statistic("p50", "copies"),
    "throughput": lambda row: None if row.latency is None else row.latency.throughput * row.batch_size,
    **{name: _statistic(name) for name in ("p50", "p90", "p95", "p99", "p999", "min", "mean", "max", "iqr", "cv", "n")},
    **{name: _cold(f"{name}_ms") for name in ("load", "build", "first")},
}
_CHOICES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "timesteps": ("T", lambda row: "ReLU" if row.is_twin else str(row.timesteps)),
    "precision": ("type", lambda row: row.precision),
    "backend": ("engine", lambda row: row.engine or row.backend),
    "neuron": ("neuron", lambda row: "ReLU twin" if row.is_twin else "LIF"),
    "status": ("status", lambda row: row.status),
}
