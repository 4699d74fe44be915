"""The latency of one artifact, readable by people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tks_edge_runtime.measurement import Measurement
from tks_edge_runtime.reporting.wording import NONE, energy, milliseconds, percentile
from tks_edge_runtime.statistics import LatencySummary

_STATISTICS = ("runs", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max", "interquartile range", "variation")


def show_latency(measured: Measurement, title: str, batch_size: int, method: Sequence[str], console: Console) -> None:
    """Print how it was measured, the latency of one batch and of its parts, and what was measured besides."""
    for sentence in method:
        console.print(sentence, style="dim", markup=False, highlight=False)
    console.print(_latencies(measured, title))
    rest = Table(show_header=False)
    rest.add_column(overflow="fold")
    rest.add_column(justify="right")
    for row in _rest(measured, batch_size):
        rest.add_row(*map(escape, row))
    console.print(rest)


def _latencies(measured: Measurement, title: str) -> Table:
    parts = {"end to end": measured.summary} | {
        name: part.summary
        for name, part in (
            ("compute", measured.compute),
            ("enqueue", measured.enqueue),
            ("copies", measured.copies),
        )
        if part is not None
    }
    style = "yellow" if measured.unstable else ""
    table = Table(
        "one batch, ms" + (", UNSTABLE" if measured.unstable else ""), title=escape(title), title_justify="left"
    )
    for name in parts:
        table.add_column(name, justify="right")
    for name, cells in zip(_STATISTICS, zip(*(_column(part) for part in parts.values()), strict=True), strict=True):
        table.add_row(name, *cells, style=style)
    return table


def _column(summary: LatencySummary) -> list[str]:
    """The cells of one column, in the order of `_STATISTICS`; a percentile with too few runs says how many it needs."""
    tails = [percentile(summary, name) for name in ("p50", "p90", "p95", "p99", "p999")]
    spread = [milliseconds(value) for value in (summary.max, summary.iqr)]
    return [str(summary.n), milliseconds(summary.min), milliseconds(summary.mean), *tails, *spread, f"{summary.cv:.1%}"]


def _rest(measured: Measurement, batch_size: int) -> list[tuple[str, str]]:
    """What was measured besides the latency of runs."""
    built = measured.cold_start.build_ms
    return [
        *([("expected latency, by its steps", _ms(measured.expected_ms))] if measured.expected_ms is not None else []),
        ("throughput", f"{measured.summary.throughput * batch_size:.1f} images/s"),
        ("CPU time of a run", _ms(measured.cpu_ms)),
        ("CPU time, least of all blocks", _ms(measured.cpu_ms_min)),
        *((f"energy of a run, {use.label}", f"{energy(use)} mJ") for use in measured.energy),
        *([] if measured.energy else [("energy of a run", NONE)]),
        ("loading", _ms(measured.cold_start.load_ms)),
        *([("of which building an engine", _ms(built))] if built is not None else []),
        ("first inference", _ms(measured.cold_start.first_ms)),
    ]


def _ms(value: float) -> str:
    return f"{value:.4g} ms"
