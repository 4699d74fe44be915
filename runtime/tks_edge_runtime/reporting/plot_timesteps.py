"""Accuracy and latency over the timesteps T; the ReLU twin, which has no T, is a horizontal line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tks_edge_runtime.reporting.plot_parts import (
    CROSS,
    HEIGHT,
    MANY,
    WIDTH,
    Marks,
    accuracy_bar,
    cross_handle,
    draw_point,
    handles_of,
    legend,
)
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.series import Series

_Bar = Callable[[Row], tuple[float, float, float] | None]
_SHIFT, _SPREAD = 0.012, 0.6
"""How far beside each other series stand, as a part of the axis, and how far all of them, as a part of a step of T."""


def accuracy(series: Sequence[Series], marks: Marks) -> Figure:
    """Accuracy with its 95 % interval over T."""
    figure, axes = _over_timesteps(series, marks, accuracy_bar)
    axes.set_ylabel("accuracy, %, with 95 % interval")
    return figure


def latency(series: Sequence[Series], marks: Marks) -> Figure:
    """The median latency, with a bar to the 90th percentile, over T."""
    figure, axes = _over_timesteps(series, marks, _latency_bar)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("e2e latency, ms: median, bar to p90")
    return figure


def _over_timesteps(series: Sequence[Series], marks: Marks, bar: _Bar) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    shown = [one for one in series if any(bar(row) is not None for row in one.rows)]
    spiking = [one for one in shown if not one.is_twin]
    every = sorted({row.timesteps for one in spiking for row in one.rows if row.early_exit is None})
    apart = _apart(every, len(spiking))
    crowded = sum(len(one.rows) for one in shown) > MANY
    for one in shown:
        if one.is_twin:
            _twin(axes, one, marks, bar, every[0])
        else:
            # Series that would lie upon each other stand side by side.
            shift = (spiking.index(one) - (len(spiking) - 1) / 2) * apart
            _curve(axes, one, marks, bar, shift, crowded=crowded)
    axes.set_xticks(every, [str(timesteps) for timesteps in every])
    axes.set_xlabel("timesteps T")
    handles = handles_of(shown, line=True)
    legend(figure, handles + [cross_handle()] * any(row.unstable for one in shown for row in one.rows))
    return figure, axes


def _apart(every: Sequence[int], series: int) -> float:
    """How far two neighbouring series stand beside each other, in timesteps."""
    least = min((after - before for before, after in pairwise(every)), default=0)
    return min(_SHIFT * (every[-1] - every[0]), _SPREAD * least / max(series, 1))


def _twin(axes: Axes, one: Series, marks: Marks, bar: _Bar, left: float) -> None:
    row, value = next((row, value) for row in one.rows if (value := bar(row)) is not None)
    axes.axhline(value[0], color=one.colour, linewidth=1.6, linestyle=one.line, gid=marks.point(row))
    if row.unstable:
        axes.plot([left], [value[0]], **CROSS, gid=marks.part("cross", row))


def _curve(axes: Axes, one: Series, marks: Marks, bar: _Bar, shift: float, *, crowded: bool) -> None:
    values = [(row, found) for row in one.rows if (found := bar(row)) is not None]
    rows = [row for row, _ in values]
    x, y = [_timesteps(row) + shift for row in rows], [value for _, (value, _, _) in values]
    axes.plot(x, y, linewidth=0.8 if crowded else 1.8, color=one.colour, zorder=3, gid=marks.line(rows))
    for row, (value, low, high) in values:
        at, vertical = (_timesteps(row) + shift, value), (value - low, high - value)
        draw_point(axes, one, row, marks, at, vertical=vertical, size=7, crowded=crowded)


def _latency_bar(row: Row) -> tuple[float, float, float] | None:
    typical = row.typical
    if typical is None or row.latency is None:
        return None
    return typical, typical, max(row.latency.p90 or typical, typical)


def _timesteps(row: Row) -> float:
    """Where a row stands on the axis: with early exit, at the steps that it takes on average."""
    steps = row.early_exit.mean_steps if row.early_exit is not None else None
    return row.timesteps if steps is None else steps
