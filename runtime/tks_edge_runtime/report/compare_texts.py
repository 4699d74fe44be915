"""A comparison of two reports as a table on a terminal, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from tks_edge_runtime.report.compare import LEAST_RUNS, Comparison, Pair
from tks_edge_runtime.report.document import ReportDocument, Row
from tks_edge_runtime.report.markdown import escaped, grid
from tks_edge_runtime.report.wording import NONE, accuracy, energy, factor, percentile
from tks_edge_runtime.statistics import LatencySummary

_NOT_INTERLEAVED = (
    "The ratios are of two runs at different times, not of one interleaved run: heat, neighbours and whatever else "
    "changed in between is in them, and not in their interval, which says how much each run varied in itself."
)
_HEADER = ("accuracy %", "e2e p50 ms", "e2e p90 ms", "e2e p99 ms", "compute p50 ms")
_RELATIVE = "B / A"
_DROPPED_FIRST = (3, 5)
"""Columns that a narrow terminal leaves out: the 90th percentile, then computing alone."""
_GAP, _INDENT = 2, 2


def notes(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    """What has to be read with the numbers, in sentences; `names` are what the two reports are called."""
    reports = zip("AB", (comparison.a, comparison.b), names, strict=True)
    found = [*(f"{letter}: {_report(report, name)}." for letter, report, name in reports), _NOT_INTERLEAVED]
    if comparison.differences:
        found.append(f"Compared all the same, though they differ. {'; '.join(map(str, comparison.differences))}.")
    renamed = [pair for pair in comparison.pairs if not pair.same_file]
    if renamed:
        hashes = ", ".join(f"{pair.title} (A {pair.a.sha256[:12]}, B {pair.b.sha256[:12]})" for pair in renamed)
        found.append(f"Not the same files, but alike in name, T, precision, form and target: {hashes}.")
    found += [sentence for pair in comparison.pairs for sentence in _doubts(pair)]
    for letter, rows in (("A", comparison.only_a), ("B", comparison.only_b)):
        if rows:
            found.append(f"Only in {letter}: {', '.join(row.title for row in rows)}.")
    return found


def _report(report: ReportDocument, name: str) -> str:
    machine = report.machine.get("board") or report.machine.get("cpu") or "an unknown machine"
    library = " ".join(report.backend.description.get(part, "") for part in ("library", "version")).strip()
    return (
        f"{name}, {report.created}, on {machine}, {report.backend.name} on {report.backend.device} ({library}), preset "
        f"{report.preset}, tks-edge {report.tool.get('version', '')}"
    )


def _doubts(pair: Pair) -> Iterator[str]:
    for letter, row in zip("AB", pair, strict=True):
        if row.latency is None:
            yield f"{pair.title}: not measured in {letter}{f' ({row.reason})' if row.reason else ''}."
        elif row.unstable:
            yield f"{pair.title}: UNSTABLE in {letter}. Do not rely on its times."


def _energy_source(comparison: Comparison) -> tuple[str, str] | None:
    """The name and the label of the first source that some row has in both reports."""
    for pair in comparison.pairs:
        for use in pair.a.energy:
            if pair.b.energy_by(use.source) is not None:
                return use.source, use.label
    return None


def _lines(pair: Pair, source: str | None) -> list[tuple[str, list[str]]]:
    """The four lines of a pair: A, B, B in units of A, and the 95 % interval of that."""
    both = [_cells(row, source) for row in pair]
    relative = [_accuracies(pair), *(_times(value) for value in _ratios(pair, source).values())]
    ratio = pair.p50_interval
    interval = f"{_ratio(ratio.low)}\N{EN DASH}{_ratio(ratio.high)}" if ratio else f"n/a (needs {LEAST_RUNS})"
    ends = [_accuracy_interval(pair), interval, *[""] * (len(relative) - 2)]
    marks = [" UNSTABLE" if row.unstable else "" for row in pair]
    return [(f"A{marks[0]}", both[0]), (f"B{marks[1]}", both[1]), (_RELATIVE, relative), ("95 %", ends)]


def _cells(row: Row, source: str | None) -> list[str]:
    cells = [
        accuracy(row.accuracy),
        *(percentile(row.latency, name) for name in ("p50", "p90", "p99")),
        percentile(row.compute, "p50"),
    ]
    return cells if source is None else [*cells, energy(row.energy_by(source))]


def _ratios(pair: Pair, source: str | None) -> dict[str, float | None]:
    """B in units of A, by what was measured; None where one of the two was not."""
    found = {name: _over(pair.b.latency, pair.a.latency, name) for name in ("p50", "p90", "p99")}
    found["compute_p50"] = _over(pair.b.compute, pair.a.compute, "p50")
    if source is not None:
        a, b = (row.energy_by(source) for row in pair)
        found["energy"] = b.mj / a.mj if a is not None and b is not None and a.mj > 0 and b.mj > 0 else None
    return found


def _ratio(value: float) -> str:
    """A ratio with three decimals: two runs of the same file differ by a per cent or two."""
    return f"{value:.3f}" if value < 10 else factor(value)


def _times(value: float | None) -> str:
    return NONE if value is None else f"{_ratio(value)}\N{MULTIPLICATION SIGN}"


def _over(b: LatencySummary | None, a: LatencySummary | None, name: str) -> float | None:
    above, below = (None if summary is None else getattr(summary, name) for summary in (b, a))
    return above / below if above is not None and below else None


def _accuracies(pair: Pair) -> str:
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
    source = _energy_source(comparison)
    header = ["", *_header(source)]
    lines = [
        [[label, *cells] for label, cells in _lines(pair, None if source is None else source[0])]
        for pair in comparison.pairs
    ]
    widths = [
        max(map(len, (*(line[index] for of_pair in lines for line in of_pair), *text.split())))
        for index, text in enumerate(header)
    ]
    shown = list(range(len(header)))
    for place in _DROPPED_FIRST:
        if sum(widths[index] + _GAP for index in shown) + _INDENT > console.width:
            shown.remove(place)
    for index, (pair, of_pair) in enumerate(zip(comparison.pairs, lines, strict=True)):
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=index == 0, header_style="dim")
        for column in shown:
            table.add_column(header[column], justify="right" if column else "left", width=widths[column])
        for line in of_pair:
            style = "yellow" if "UNSTABLE" in line[0] else "bold" if line[0] == _RELATIVE else ""
            table.add_row(*(escape(line[column]) for column in shown), style=style)
        console.print(f"[bold]{escape(pair.title)}[/]", highlight=False)
        console.print(Padding(table, (0, 0, 1, _INDENT)))
    for sentence in notes(comparison, names):
        console.print(escape(sentence), highlight=False)


def _header(source: tuple[str, str] | None) -> list[str]:
    return [*_HEADER, *([f"mJ ({source[1]})"] if source is not None else [])]


def render_comparison(comparison: Comparison, names: tuple[str, str]) -> str:
    """The comparison as GitHub-flavoured Markdown."""
    source = _energy_source(comparison)
    rows: list[Sequence[str]] = []
    for pair in comparison.pairs:
        lines = _lines(pair, None if source is None else source[0])
        rows += [("" if index else pair.title, label, *cells) for index, (label, cells) in enumerate(lines)]
    header = ("", "", *_header(source))
    table = grid(header, rows, [False, False, *[True] * (len(header) - 2)])
    remarks = "\n".join(f"- {escaped(sentence)}" for sentence in notes(comparison, names))
    return f"# Two reports side by side\n\n{table}\n\n{remarks}\n"


def comparison_document(comparison: Comparison, names: tuple[str, str]) -> dict[str, Any]:
    """The comparison as JSON types: times in ms, energies in mJ, accuracies in percent."""
    source = _energy_source(comparison)
    return {
        "a": names[0],
        "b": names[1],
        "differences": [dataclasses.asdict(difference) for difference in comparison.differences],
        "rows": [_pair_document(pair, None if source is None else source[0]) for pair in comparison.pairs],
        "only_a": [row.title for row in comparison.only_a],
        "only_b": [row.title for row in comparison.only_b],
        "notes": notes(comparison, names),
    }


def _pair_document(pair: Pair, source: str | None) -> dict[str, Any]:
    ratio = pair.p50_interval
    return {
        "title": pair.title,
        "same_file": pair.same_file,
        "a": _row_document(pair.a),
        "b": _row_document(pair.b),
        "ratios": _ratios(pair, source),
        "p50_interval": None if ratio is None else [ratio.low, ratio.high],
        "energy_source": source,
    }


def _row_document(row: Row) -> dict[str, Any]:
    kept = ("file", "sha256", "status", "unstable", "accuracy", "latency", "compute", "energy")
    document = dataclasses.asdict(dataclasses.replace(row, traces=None))
    return {name: document[name] for name in kept}
