"""What several plots have in common: legends, a logarithmic latency axis, and the marks of single points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tks_edge_runtime.report import palette
from tks_edge_runtime.report.series import Series

_LONG_LABEL, _LEGEND_LINE = 30, 0.18
"""Characters that fit into half of the width, and the height of a line in inches."""
_LINEAR_SPAN = 16
RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 14,
    "markerfacecolor": "none",
    "markeredgecolor": palette.INK,
    "linestyle": "none",
}
STAIRS: dict[str, Any] = {"color": palette.FRONT, "linewidth": 1.6, "linestyle": (0, (4, 2))}
CROSS: dict[str, Any] = {
    "marker": "x",
    "markersize": 11,
    "markeredgewidth": 1.8,
    "markeredgecolor": palette.INK,
    "linestyle": "none",
    "zorder": 6,
}
"""Through the points of rows that are UNSTABLE."""


def logarithmic(axes: Axes, latencies: Sequence[float]) -> bool:
    """Make the latency axis logarithmic where the values span more than a factor of 16; whether it is."""
    span = max(latencies) / min(latencies)
    if span <= _LINEAR_SPAN:
        return False
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if span < 100 else (1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return True


def handle_of(one: Series, *, line: bool = False) -> Line2D:
    """What a legend says about a series."""
    style: dict[str, Any] = {"marker": one.marker, "markersize": 7, "linestyle": "-" if line else "none"}
    if line and one.is_twin:
        style = {"linestyle": one.line, "linewidth": 1.6}
    return Line2D([], [], color=one.colour, label=one.label, **style)


def legend(figure: Figure, handles: Sequence[Line2D], *, columns: int = 2) -> None:
    """Put a legend over the axes, in one column where the names are long; the figure grows by what it needs."""
    # Without explicit labels, one that starts with an underscore would be left out.
    labels = [str(handle.get_label()) for handle in handles]
    if max(map(len, labels), default=0) > _LONG_LABEL:
        columns = 1
    lines = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + _LEGEND_LINE * max(0, lines - 2))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handletextpad=0.5, columnspacing=1.2)


def cross_handle() -> Line2D:
    """What a legend says about `CROSS`."""
    return Line2D([], [], **CROSS, label="UNSTABLE")
