"""Latency distributions: the whole trace of each row as a histogram, with its percentiles and its slowest run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.plot_parts import FONT, WIDTH, Marks, legend, logarithmic, outstanding, point_labels
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.series import Series

LEFT_OUT = "Only each best T, the rows on the front and the ReLU twins; report.json holds every run of every row."
"""What is to be read with the plot where there are many rows."""
_BINS = 160
_MARKS = {"p50": ("|", "p50"), "p90": ("^", "p90"), "p99": ("s", "p99"), "max": ("o", "slowest")}


def drawn(series: Sequence[Series], marks: Marks) -> Figure:
    """One line for each row that a plot names, in the order of the series from the top."""
    named = {row.key for row in outstanding([row for one in series for row in one.rows])}
    shown = [(one, row) for one in series for row in one.rows if row.traces is not None and row.key in named][::-1]
    traces = [np.asarray(row.trace_ms) for _, row in shown]
    figure = Figure(figsize=(WIDTH, 1.25 + 0.45 * len(shown)), layout="constrained")
    axes = figure.subplots()
    extremes = [float(end) for trace in traces for end in (trace.min(), trace.max())]
    space = np.geomspace if logarithmic(axes, extremes) else np.linspace
    edges = space(0.98 * min(extremes), 1.02 * max(extremes), _BINS)
    for index, ((one, row), trace) in enumerate(zip(shown, traces, strict=True)):
        counts = np.histogram(trace, edges)[0]
        heights = index + 0.8 * counts / counts.max()
        axes.axhline(index, color=palette.GRID, linewidth=0.8)
        axes.stairs(
            heights, edges, baseline=index, fill=True, color=one.colour, linewidth=0, zorder=3, gid=marks.point(row)
        )
        _percentiles(axes, row, index, marks)
    _name_lines(axes, shown)
    axes.set_ylim(-0.4, len(shown))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("e2e latency, ms, every run")
    legend(figure, [Line2D([], [], label=label, **_mark(marker)) for marker, label in _MARKS.values()], columns=4)
    return figure


def _percentiles(axes: Axes, row: Row, index: int, marks: Marks) -> None:
    for name, (marker, _) in _MARKS.items():
        value = getattr(row.latency, name)
        if value is not None:
            axes.plot([value], [index], zorder=5, **_mark(marker), gid=marks.part(name, row))


def _name_lines(axes: Axes, shown: Sequence[tuple[Series, Row]]) -> None:
    """Write T beside each line, and what series it is of where there are several."""
    several = len({one.label for one, _ in shown if not one.is_twin}) > 1
    names = point_labels([row for _, row in shown])
    if several:
        names = [f"{one.label}\n{name}" for (one, _), name in zip(shown, names, strict=True)]
    axes.set_yticks(range(len(shown)), names, color=palette.INK)
    axes.tick_params(axis="y", length=0, labelsize=FONT - 2 if several else FONT)


def _mark(marker: str) -> dict[str, Any]:
    size = 9 if marker == "|" else 4
    return {"marker": marker, "markersize": size, "markeredgewidth": 1.5 if marker == "|" else 0, "color": palette.INK,
            "linestyle": "none"}  # fmt: skip
