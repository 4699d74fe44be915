"""Comparisons of two reports as a table on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from tks_edge_runtime.reporting.compare import LEAST_RUNS, Comparison, Named, Pair
from tks_edge_runtime.reporting.document import Backend, ReportDocument
from tks_edge_runtime.reporting.markdown import escaped, grid
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.wording import NONE, accuracy, energy, factor, milliseconds, percentile
from tks_edge_runtime.statistics import LatencySummary

_NOT_INTERLEAVED = (
    "The ratios are of two runs at different times, not of one interleaved run: heat, neighbours and whatever else "
    "changed in between is in them, and not in their interval, which says how much each run varied in itself. For "
    "ratios without that, put the artifacts of both, under names of their own, into one folder and make one report."
)
_OF_MEANS = (
    "With early exit a run takes as long as its samples need. Such rows are compared by their means, not their "
    "medians, which would say nothing of the longer runs:"
)
_COMPARED_BY = {"median": "p50", "mean": "mean"}
"""The column of what `Pair.typical_name` names."""
_DROPPED_FIRST = ("p90", "compute_p50", "p99")
"""Columns that a narrow terminal leaves out: the 90th percentile, then computing alone, then the 99th percentile."""
_GAP, _INDENT = 2, 2


def notes(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    """What has to be read with the numbers, in sentences; `names` are what the two reports are called."""
    reports = zip(_letters(comparison), (comparison.a, comparison.b), names, strict=True)
    found = [*(f"{letter}: {_report(report, name)}." for letter, report, name in reports), _NOT_INTERLEAVED]
    if comparison.differences:
        found.append(f"Compared all the same, though they differ. {'; '.join(map(str, comparison.differences))}.")
    renamed = [pair for pair in comparison.pairs if not pair.same_file]
    if renamed:
        hashes = ", ".join(f"{pair.title} (A {_hash(pair.a)}, {comparison.letter} {_hash(pair.b)})" for pair in renamed)
        found.append(f"Not the same files, but alike in name, T, precision, form and target: {hashes}.")
        found += _drift(comparison)
    means = [pair.title for pair in comparison.pairs if pair.typical_name == "mean"]
    if means:
        found.append(f"{_OF_MEANS} {', '.join(means)}.")
    found += [sentence for pair in comparison.pairs for sentence in _doubts(pair, _letters(comparison))]
    for letter, rows in zip(_letters(comparison), (comparison.only_a, comparison.only_b), strict=True):
        if rows:
            found.append(f"Only in {letter}: {', '.join(row.title for row in rows)}.")
    return found


def _letters(comparison: Comparison) -> tuple[str, str]:
    return "A", comparison.letter


def _drift(comparison: Comparison) -> Iterator[str]:
    """What the files that did not change took in the second report: that much is the machine."""
    same = [pair for pair in comparison.pairs if pair.same_file and pair.ratio is not None]
    if same:
        told = ", ".join(f"{pair.title} {times(pair.ratio)}" for pair in same)
        yield f"The same file in both took in {comparison.letter} in units of A: {told}. That is the machine's doing."


def _hash(row: Row) -> str:
    return row.sha256[:12] if row.sha256 is not None else "not exported"


def _report(report: ReportDocument, name: str) -> str:
    machine = report.machine.get("board") or report.machine.get("cpu") or "an unknown machine"
    engines = " and ".join(map(_engine, report.backends))
    return (
        f"{name}, {report.created}, on {machine}, {engines}, preset "
        f"{report.preset}, tks-edge {report.tool.get('version', '')}"
    )


def _engine(one: Backend) -> str:
    library = " ".join(one.description.get(part, "") for part in ("library", "version")).strip()
    return f"{one.name} on {one.device} ({library})"


def _doubts(pair: Pair, letters: tuple[str, str]) -> Iterator[str]:
    for letter, row in zip(letters, pair, strict=True):
        if row.latency is None:
            yield f"{pair.title}: not measured in {letter}{f' ({row.reason})' if row.reason else ''}."
        elif row.unstable:
            yield f"{pair.title}: UNSTABLE in {letter}. Do not rely on its times."


def energy_source(comparison: Comparison) -> tuple[str, str] | None:
    """The name and the label of the first source that some row has in both reports."""
    for pair in comparison.pairs:
        for use in pair.a.energy:
            if pair.b.energy_by(use.source) is not None:
                return use.source, use.label
    return None


def _columns(comparison: Comparison, source: tuple[str, str] | None) -> dict[str, str]:
    """The header of each column, by its key; means only where something is compared by them."""
    means = any(pair.typical_name == "mean" for pair in comparison.pairs)
    return {
        "accuracy": "accuracy %",
        "p50": "e2e p50 ms",
        **({"mean": "e2e mean ms"} if means else {}),
        "p90": "e2e p90 ms",
        "p99": "e2e p99 ms",
        "compute_p50": "compute p50 ms",
        **({"energy": f"mJ ({source[1]})"} if source is not None else {}),
    }


def _lines(comparison: Comparison, pair: Pair, source: str | None) -> list[tuple[str, dict[str, str]]]:
    """The four lines of a pair, by column: A, B, B in units of A, and the 95 % interval of that."""
    relative = {name: times(value) for name, value in ratios(pair, source).items()}
    return [
        *(
            (f"{letter}{' UNSTABLE' if row.unstable else ''}", _cells(row, source))
            for letter, row in zip(_letters(comparison), pair, strict=True)
        ),
        (_relative(comparison), {"accuracy": accuracies(pair), **relative}),
        ("95 %", {"accuracy": _accuracy_interval(pair), _COMPARED_BY[pair.typical_name]: interval(pair)}),
    ]


def _relative(comparison: Comparison) -> str:
    return f"{comparison.letter} / A"


def _cells(row: Row, source: str | None) -> dict[str, str]:
    return {
        "accuracy": accuracy(row.accuracy),
        **{name: percentile(row.latency, name) for name in ("p50", "p90", "p99")},
        "mean": milliseconds(row.latency.mean if row.latency is not None else None),
        "compute_p50": percentile(row.compute, "p50"),
        "energy": NONE if source is None else energy(row.energy_by(source)),
    }


def ratios(pair: Pair, source: str | None) -> dict[str, float | None]:
    """B in units of A, by what was measured; None where one of the two was not."""
    found = {name: _over(pair.b.latency, pair.a.latency, name) for name in ("p50", "mean", "p90", "p99")}
    found["compute_p50"] = _over(pair.b.compute, pair.a.compute, "p50")
    if source is not None:
        a, b = (row.energy_by(source) for row in pair)
        found["energy"] = b.mj / a.mj if a is not None and b is not None and a.mj > 0 and b.mj > 0 else None
    return found


def _ratio(value: float) -> str:
    """A ratio with three decimals: two runs of the same file differ by a per cent or two."""
    return f"{value:.3f}" if value < 10 else factor(value)


def interval(pair: Pair) -> str:
    """The 95 % interval of the ratio of what the two are compared by."""
    ratio = pair.interval
    return f"n/a (needs {LEAST_RUNS})" if ratio is None else f"{_ratio(ratio.low)}\N{EN DASH}{_ratio(ratio.high)}"


def times(value: float | None) -> str:
    """A ratio as a factor."""
    return NONE if value is None else f"{_ratio(value)}\N{MULTIPLICATION SIGN}"


def _over(b: LatencySummary | None, a: LatencySummary | None, name: str) -> float | None:
    above, below = (None if summary is None else getattr(summary, name) for summary in (b, a))
    return above / below if above is not None and below else None


def accuracies(pair: Pair) -> str:
    """B's accuracy less A's, in percentage points."""
    a, b = pair.a.accuracy, pair.b.accuracy
    if a is None or b is None:
        return NONE
    if (a.correct, a.total) == (b.correct, b.total):
        return "the same"
    return f"{b.percent - a.percent:+.2f}{', noise' if b.within_noise_of(a) else ''}"


def _accuracy_interval(pair: Pair) -> str:
    a, b = pair.a.accuracy, pair.b.accuracy
    if a is None or b is None or (a.correct, a.total) == (b.correct, b.total):
        return ""
    low, high = b.difference(a)
    return f"{low:+.2f} to {high:+.2f}"


def print_comparison(comparison: Comparison, names: tuple[str, str], console: Console) -> None:
    """Print the table, and under it what has to be read with it."""
    source = energy_source(comparison)
    header = {"": "", **_columns(comparison, source)}
    lines = [
        [{"": label, **cells} for label, cells in _lines(comparison, pair, source and source[0])]
        for pair in comparison.pairs
    ]
    widths = {
        key: max(map(len, (*(line.get(key, "") for of_pair in lines for line in of_pair), *text.split())))
        for key, text in header.items()
    }
    shown = list(header)
    for key in _DROPPED_FIRST:
        if sum(widths[column] + _GAP for column in shown) + _INDENT > console.width:
            shown.remove(key)
    for index, (pair, of_pair) in enumerate(zip(comparison.pairs, lines, strict=True)):
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=index == 0, header_style="dim")
        for column in shown:
            table.add_column(header[column], justify="right" if column else "left", width=widths[column])
        for line in of_pair:
            style = "yellow" if "UNSTABLE" in line[""] else "bold" if line[""] == _relative(comparison) else ""
            table.add_row(*(escape(line.get(column, "")) for column in shown), style=style)
        console.print(f"[bold]{escape(pair.title)}[/]", highlight=False)
        console.print(Padding(table, (0, 0, 1, _INDENT)))
    for sentence in notes(comparison, names):
        console.print(escape(sentence), highlight=False)


def render_comparisons(comparisons: Sequence[Named]) -> str:
    """Every comparison, with the names of its reports, as GitHub-flavoured Markdown."""
    return "# Reports side by side\n" + "".join(_rendered(*one) for one in comparisons)


def _rendered(comparison: Comparison, names: tuple[str, str]) -> str:
    source = energy_source(comparison)
    columns = _columns(comparison, source)
    rows: list[Sequence[str]] = []
    for pair in comparison.pairs:
        lines = _lines(comparison, pair, source and source[0])
        rows += [
            ("" if index else pair.title, label, *(cells.get(key, "") for key in columns))
            for index, (label, cells) in enumerate(lines)
        ]
    header = ("", "", *columns.values())
    table = grid(header, rows, [False, False, *[True] * (len(header) - 2)])
    remarks = "\n".join(f"- {escaped(sentence)}" for sentence in notes(comparison, names))
    return f"\n## {comparison.letter} beside A\n\n{table}\n\n{remarks}\n"
