"""Reports side by side as one HTML page, made as the page of a report is."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tks_edge_runtime.reporting import compare_texts
from tks_edge_runtime.reporting.compare import Comparison, Named, Pair
from tks_edge_runtime.reporting.page_frame import render_page
from tks_edge_runtime.reporting.page_table import Cell, Filter
from tks_edge_runtime.reporting.plot_compare import Placed, draw_comparison
from tks_edge_runtime.reporting.row import MeasuredAccuracy, Row
from tks_edge_runtime.reporting.wording import accuracy, energy, milliseconds, percentile
from tks_edge_runtime.version import __version__


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    key: str
    header: str
    meaning: str
    numeric: bool = True


@dataclass(frozen=True)
class Line:
    """A row of the table: a pair of rows."""

    place: int
    pair: Pair
    cells: tuple[Cell, ...]
    choices: dict[str, str]
    classes: str


@dataclass(frozen=True)
class Part:
    """What is said of one comparison."""

    headline: str
    notes: Sequence[str]


_TIMES = "\N{MULTIPLICATION SIGN}"
_COLUMNS = (
    Column("name", "artifact", "network, T, precision, form and target", numeric=False),
    Column("against", "report", "the report that is held against A", numeric=False),
    Column("accuracy_a", "A: accuracy %", "top-1 in A"),
    Column("accuracy", "accuracy %", "top-1 in the other report"),
    Column("points", "points", "its accuracy less that of A, in percentage points"),
    Column("p50_a", "A: e2e p50 ms", "median latency in A, end to end"),
    Column("p50", "e2e p50 ms", "median latency in the other report, end to end"),
    Column("ratio", f"latency {_TIMES} A", "its latency in units of A's: the medians, of early exit the means"),
    Column("interval", "95 %", "interval of that ratio, from how much each run varied in itself", numeric=False),
    Column("p99_ratio", f"p99 {_TIMES} A", "its 99th percentile in units of A's"),
    Column("compute_ratio", f"compute {_TIMES} A", "its median time of computing alone in units of A's"),
)
_MEANS = (
    Column("mean_a", "A: e2e mean ms", "mean latency in A, end to end, by which early exit is compared"),
    Column("mean", "e2e mean ms", "mean latency in the other report, end to end"),
)
_ENERGY = (
    Column("energy_a", "A: mJ", "energy of a batch in A, by {source}"),
    Column("energy", "mJ", "energy of a batch in the other report, by {source}"),
    Column("energy_ratio", f"mJ {_TIMES} A", "its energy in units of A's"),
)
_MARKS = Column("marks", "marks", "what its numbers are to be read with", numeric=False)


def render(comparisons: Sequence[Named]) -> str:
    """The whole page.

    Args:
        comparisons: each with another report; the first report, A, is the same in all.
    """
    found = next((found for one, _ in comparisons if (found := compare_texts.energy_source(one)) is not None), None)
    source, label = found or (None, "")
    measured = [Column(one.key, one.header, one.meaning.format(source=label)) for one in _ENERGY if source is not None]
    columns = [*_COLUMNS, *measured, _MARKS]
    if any(pair.typical_name == "mean" for one, _ in comparisons for pair in one.pairs):
        before = next(place for place, column in enumerate(columns) if column.key == "ratio")
        columns[before:before] = _MEANS
    placed = _placed(comparisons)
    letters = [one.letter for one, _ in comparisons]
    lines = [_line(one, letters[one.report], columns, source) for one in placed]
    return render_page(
        "compare.html.j2",
        version=__version__,
        parts=[Part(_headline(one), compare_texts.notes(one, names)) for one, names in comparisons],
        plots={plot.name: plot for plot in draw_comparison(placed, letters)},
        columns=columns,
        lines=lines,
        filters=list(_filters(lines)),
        names={"A": comparisons[0][1][0], **{one.letter: names[1] for one, names in comparisons}},
    )


def _placed(comparisons: Sequence[Named]) -> list[Placed]:
    pairs = [(pair, report) for report, (one, _) in enumerate(comparisons) for pair in one.pairs]
    return [Placed(place, pair, report) for place, (pair, report) in enumerate(pairs)]


def _headline(comparison: Comparison) -> str:
    """How the latencies changed, over all pairs, and how many of them and of the accuracies did beyond doubt."""
    letter = comparison.letter
    ratios = [pair.ratio for pair in comparison.pairs if pair.ratio is not None]
    if not ratios:
        return f"{letter} beside A: no latency was measured in both"
    intervals = [pair.interval for pair in comparison.pairs if pair.interval is not None]
    faster, slower = sum(one.high < 1 for one in intervals), sum(one.low > 1 for one in intervals)
    judged = [(a.accuracy, b.accuracy) for a, b in comparison.pairs]
    moved = sum(a is not None and b is not None and not b.within_noise_of(a) for a, b in judged)
    over = f"over {len(ratios)} artifacts, {min(ratios):.3f} to {max(ratios):.3f}" if len(ratios) > 1 else "1 artifact"
    return (
        f"{letter} takes {statistics.median(ratios):.3f}{_TIMES} the time of A ({over}): "
        f"{faster} faster, {slower} slower beyond their intervals; "
        f"{f'{moved} accuracies differ' if moved != 1 else '1 accuracy differs'} beyond noise"
    )


def _line(one: Placed, letter: str, columns: Sequence[Column], source: str | None) -> Line:
    a, b = one.pair
    ratios = compare_texts.ratios(one.pair, source)
    values: dict[str, tuple[str, float | None]] = {
        "name": (one.pair.title, None),
        "against": (letter, None),
        "accuracy_a": (accuracy(a.accuracy), _percent(a.accuracy)),
        "accuracy": (accuracy(b.accuracy), _percent(b.accuracy)),
        "points": (compare_texts.accuracies(one.pair), _points(one.pair)),
        "p50_a": (percentile(a.latency, "p50"), _latency(a, "p50")),
        "p50": (percentile(b.latency, "p50"), _latency(b, "p50")),
        "mean_a": (milliseconds(_latency(a, "mean")), _latency(a, "mean")),
        "mean": (milliseconds(_latency(b, "mean")), _latency(b, "mean")),
        "ratio": (_ratio(one.pair), one.pair.ratio),
        "interval": (compare_texts.interval(one.pair), None),
        "p99_ratio": (compare_texts.times(ratios["p99"]), ratios["p99"]),
        "compute_ratio": (compare_texts.times(ratios["compute_p50"]), ratios["compute_p50"]),
        "marks": (", ".join(_marks(one.pair, letter)), None),
    }
    if source is not None:
        uses = [row.energy_by(source) for row in one.pair]
        for key, use in zip(("energy_a", "energy"), uses, strict=True):
            values[key] = (energy(use), None if use is None else use.mj)
        values["energy_ratio"] = (compare_texts.times(ratios["energy"]), ratios["energy"])
    cells = (Cell(column.key, *_written(*values[column.key]), numeric=column.numeric) for column in columns)
    classes = " ".join(
        name for name, given in (("unstable", a.unstable or b.unstable), ("is-twin", a.is_twin)) if given
    )
    return Line(one.place, one.pair, tuple(cells), _choices(a, letter), classes)


def _written(text: str, value: float | None) -> tuple[str, str | None]:
    return text, None if value is None else json.dumps(value)


def _percent(found: MeasuredAccuracy | None) -> float | None:
    return None if found is None else found.percent


def _points(pair: Pair) -> float | None:
    a, b = pair.a.accuracy, pair.b.accuracy
    return None if a is None or b is None else b.percent - a.percent


def _latency(row: Row, name: str) -> float | None:
    found: float | None = None if row.latency is None else getattr(row.latency, name)
    return found


def _ratio(pair: Pair) -> str:
    of_means = pair.ratio is not None and pair.typical_name == "mean"
    return f"{compare_texts.times(pair.ratio)}{' (means)' if of_means else ''}"


def _marks(pair: Pair, letter: str) -> Iterator[str]:
    for name, row in zip(("A", letter), pair, strict=True):
        if row.latency is None:
            yield f"not measured in {name}"
        elif row.unstable:
            yield f"UNSTABLE in {name}"
    if not pair.same_file:
        yield "another file"


def _choices(row: Row, letter: str) -> dict[str, str]:
    return {
        "against": letter,
        "timesteps": "ReLU" if row.is_twin else str(row.timesteps),
        "precision": row.precision,
        "backend": row.engine or row.backend,
    }


_LABELS = {"against": "report", "timesteps": "T", "precision": "type", "backend": "engine"}


def _filters(lines: Sequence[Line]) -> Iterator[Filter]:
    """What there is to choose from: only where the lines differ."""
    for key, label in _LABELS.items():
        values = tuple(dict.fromkeys(line.choices[key] for line in lines))
        if len(values) > 1:
            yield Filter(key, label, values)
