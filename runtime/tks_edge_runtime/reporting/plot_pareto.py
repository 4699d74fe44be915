"""Accuracy against latency, with the Pareto front: the plot that the choice of T, precision and engine is made on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.labels import Box, place
from tks_edge_runtime.reporting.plot_parts import (
    FONT,
    HEIGHT,
    MANY,
    RING,
    STAIRS,
    WIDTH,
    Marks,
    accuracy_bar,
    cross_handle,
    draw_point,
    handles_of,
    legend,
    logarithmic,
    outstanding,
    point_labels,
)
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.series import Series

_WIDE = (10.0, 5.0)
_BEYOND = 1.6
"""How far a linear axis goes, in units of the slowest median: long tails would press the medians together."""


def drawn(series: Sequence[Series], marks: Marks, *, wide: bool) -> Figure:
    """Accuracy with its interval over the median latency with a bar to the 90th percentile, and the Pareto front.

    Args:
        series: of rows with a latency; at least one with an accuracy.
        marks: the ids of the points.
        wide: over the whole width of a page, else as wide as a phone.
    """
    shown = [(one, row) for one in series for row in one.rows if row.accuracy is not None]
    height = HEIGHT if len(shown) <= MANY else 1.3 * HEIGHT
    figure = Figure(figsize=_WIDE if wide else (WIDTH, height), layout="constrained")
    axes = figure.subplots()
    latencies = [row.typical for _, row in shown if row.typical is not None]
    beyond = ""
    if not logarithmic(axes, latencies):
        tails = [bar[1] for _, row in shown if (bar := _latency_bar(row)) is not None]
        axes.set_xlim(0, min(1.12 * max(tails), _BEYOND * max(latencies)))
        beyond = " (some go on beyond the edge)" if max(tails) > _BEYOND * max(latencies) else ""
    for one, row in shown:
        _point(axes, one, row, marks, crowded=len(shown) > MANY)
    _front(axes, [row for _, row in shown if row.pareto])
    name = "median (of early exit expected)" if any(row.early_exit is not None for _, row in shown) else "median"
    axes.set_xlabel(f"e2e latency, ms: {name}, bar to p90{beyond}")
    axes.set_ylabel("accuracy, %, with 95 % interval")
    legend(figure, _handles(series, [row for _, row in shown]), columns=4 if wide else 2)
    _name_points(figure, axes, [row for _, row in shown], marks)
    return figure


def _handles(series: Sequence[Series], shown: Sequence[Row]) -> list[Line2D]:
    handles = handles_of([one for one in series if any(row.accuracy is not None for row in one.rows)])
    if any(row.recommended for row in shown):
        handles.append(Line2D([], [], **RING, label="best T: fastest within 1 point"))
    if sum(row.pareto for row in shown) > 1:
        handles.append(Line2D([], [], **STAIRS, label="front"))
    if any(row.unstable for row in shown):
        handles.append(cross_handle())
    return handles


def _point(axes: Axes, one: Series, row: Row, marks: Marks, *, crowded: bool) -> None:
    accuracy, latency = accuracy_bar(row), _latency_bar(row)
    if accuracy is None or latency is None:
        return
    (y, low, high), (x, right) = accuracy, latency
    if row.recommended:
        axes.plot([x], [y], **RING, zorder=4, gid=marks.part("ring", row))
    draw_point(axes, one, row, marks, (x, y), right=right - x, vertical=(y - low, high - y), crowded=crowded)


def _front(axes: Axes, rows: Sequence[Row]) -> None:
    """One staircase for each evaluation set: accuracies on different sets do not compare."""
    sets: dict[str | None, list[tuple[float, float]]] = {}
    for row in rows:
        if row.point is not None:
            key = row.evaluation.identity if row.evaluation is not None else None
            sets.setdefault(key, []).append(row.point)
    for points in sets.values():
        x, y = zip(*_rising(points), strict=True)
        axes.step(x, y, where="post", **STAIRS, zorder=2)


def _rising(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The points from left to right that lie higher than all before: those of other turns may seem out of order."""
    best = -math.inf
    for x, y in sorted(points):
        if y > best:
            best = y
            yield x, y


def _name_points(figure: Figure, axes: Axes, rows: Sequence[Row], marks: Marks) -> None:
    """Write T at each point; the recommended ones choose their place first. Of many rows some go without a name."""
    figure.draw_without_rendering()
    frame = Box(*axes.get_window_extent().extents)
    named = sorted(outstanding(rows), key=lambda row: not row.recommended)
    points = [(point, row) for row in named if (point := row.point) is not None]
    names = point_labels([row for _, row in points])
    positions = [tuple(axes.transData.transform(point)) for point, _ in points]
    bars = [bar for row in rows for bar in _bars(axes, row)]
    if len(rows) > MANY:
        bars += [Box(x - 4, y - 4, x + 4, y + 4) for x, y in _others(axes, rows, named)]
    offsets = place(positions, names, FONT, frame, bars, optional=len(rows) > MANY)
    for (point, row), name, offset in zip(points, names, offsets, strict=True):
        if offset is None:
            continue
        leader = {"arrowstyle": "-", "color": palette.MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            name,
            point,
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontweight="bold" if row.recommended else "normal",
            bbox={"facecolor": palette.SURFACE, "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            arrowprops=leader if abs(offset[1]) > 2 * FONT else None,
            zorder=4.5,
            gid=marks.part("name", row),
        )


def _others(axes: Axes, rows: Sequence[Row], named: Sequence[Row]) -> Iterator[tuple[float, float]]:
    """Where the points without a name are on the page, in points."""
    keys = {row.key for row in named}
    for row in rows:
        if row.key not in keys and row.point is not None:
            x, y = axes.transData.transform(row.point)
            yield x, y


def _bars(axes: Axes, row: Row) -> Iterator[Box]:
    """Where the two error bars of a point are on the page, in points."""
    accuracy, latency = accuracy_bar(row), _latency_bar(row)
    if accuracy is None or latency is None:
        return
    (y, low, high), (x, right) = accuracy, latency
    for start, end in (((x, low), (x, high)), ((x, y), (right, y))):
        (x0, y0), (x1, y1) = axes.transData.transform((start, end))
        yield Box(x0 - 1, y0 - 1, x1 + 1, y1 + 1)


def _latency_bar(row: Row) -> tuple[float, float] | None:
    typical = row.typical
    if typical is None or row.latency is None:
        return None
    return typical, max(row.latency.p90 or typical, typical)
