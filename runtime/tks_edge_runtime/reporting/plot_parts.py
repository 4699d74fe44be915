"""What several plots have in common: sizes, legends, a logarithmic latency axis, points, and which rows are named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.series import Series

FONT = 10.0
WIDTH, HEIGHT = 4.8, 3.5
"""Of a plot beside another, in inches: as wide as a phone when its text has the size of the page's."""
MANY = 24
"""Above this number of rows, only those are named that stand out."""
_CHARACTERS, _HANDLE, _LEGEND_LINE = 14.4, 4, 0.18
"""Of a legend: characters in an inch, what a handle takes in characters, and the height of a line in inches."""
_MOST_LABELS = 8
_LINEAR_SPAN = 16
STYLE: Any = {
    "font.size": FONT,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    # A name may hold a dollar sign.
    "text.parse_math": False,
    "text.color": palette.INK,
    "axes.labelcolor": palette.INK,
    "axes.edgecolor": palette.MUTED,
    "axes.facecolor": palette.SURFACE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": palette.SURFACE,
    "figure.dpi": 72,
    "grid.color": palette.GRID,
    "grid.linewidth": 0.8,
    "xtick.color": palette.MUTED,
    "ytick.color": palette.MUTED,
    "legend.frameon": False,
    "legend.fontsize": FONT - 1,
}
"""Of every plot, for `matplotlib.rc_context`."""
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


class Marks:
    """The ids of what is drawn for rows, by which the page knows it again; see `plot_forms`.

    Args:
        rows: all rows of the document: an id holds the place of its row among them.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._places = {row.key: place for place, row in enumerate(rows)}

    def point(self, row: Row) -> str:
        """Return the id of the point, or of what else stands for a row; one in each plot."""
        return f"point.{self._places[row.key]}"

    def part(self, name: str, row: Row) -> str:
        """Return the id of something that belongs to a row's point."""
        return f"part-{name}.{self._places[row.key]}"

    def line(self, rows: Iterable[Row]) -> str:
        """Return the id of a line through the points of several rows."""
        return f"line.{'.'.join(str(self._places[row.key]) for row in rows)}"


def outstanding(rows: Sequence[Row]) -> list[Row]:
    """The rows that a plot names: all, or of many those of the best T, those on the front, and the ReLU twins."""
    if len(rows) <= MANY:
        return list(rows)
    return [row for row in rows if row.recommended or row.pareto or row.is_twin]


def point_labels(rows: Sequence[Row]) -> list[str]:
    """T, and of several twins the precision; the series say the rest."""
    several = sum(row.is_twin for row in rows) > 1
    twin = "twin {}" if several else "twin"
    names = (twin.format(row.precision) if row.is_twin else _steps(row) for row in rows)
    return [f"{name} UNSTABLE" if row.unstable else name for name, row in zip(names, rows, strict=True)]


def _steps(row: Row) -> str:
    return f"T={row.timesteps}" if row.early_exit is None else "early exit"


def accuracy_bar(row: Row) -> tuple[float, float, float] | None:
    """The accuracy of a row and the ends of its 95 % interval, in percent; None where it has none."""
    accuracy = row.accuracy
    return None if accuracy is None else (accuracy.percent, accuracy.low, accuracy.high)


def draw_point(
    axes: Axes,
    one: Series,
    row: Row,
    marks: Marks,
    at: tuple[float, float],
    *,
    right: float = 0.0,
    vertical: tuple[float, float] = (0.0, 0.0),
    size: float = 8.0,
    crowded: bool = False,
) -> None:
    """Draw the marker of a row, its bars (to the right, and down and up, in data units), and its cross.

    Where it is `crowded` the bars are faint and the marker is small.
    """
    x, y = at
    bars = axes.errorbar(
        [x], [y],
        xerr=[[0.0], [right]] if right else None,
        yerr=[[vertical[0]], [vertical[1]]] if any(vertical) else None,
        fmt="none", ecolor=one.colour, elinewidth=1.3, alpha=0.3 if crowded else 0.55, zorder=3,
    )  # fmt: skip
    for index, bar in enumerate(bars.lines[2]):
        bar.set_gid(marks.part(f"bar{index}", row))
    axes.plot(
        [x], [y], one.marker, markersize=0.7 * size if crowded else size, color=one.colour,
        markeredgecolor=palette.SURFACE, markeredgewidth=0.5 if crowded else 1.0, zorder=5, gid=marks.point(row),
    )  # fmt: skip
    if row.unstable:
        axes.plot([x], [y], **CROSS, gid=marks.part("cross", row))


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


def handles_of(series: Sequence[Series], *, line: bool = False) -> list[Line2D]:
    """What a legend says about the series: one by one, or of many the meaning of each colour and of each marker."""
    spiking = [one for one in series if not one.is_twin]
    twins = [one for one in series if one.is_twin]
    colours = {one.colour: one.network for one in spiking}
    markers = {one.marker: one.kind for one in spiking}
    one_by_one = len(series) <= _MOST_LABELS or any(
        (colours[one.colour], markers[one.marker]) != (one.network, one.kind) for one in spiking
    )
    if one_by_one:
        return [_handle(one, line=line) for one in series]
    patch: dict[str, Any] = {"linewidth": 6, "solid_capstyle": "butt"}
    found = [Line2D([], [], color=colour, label=network, **patch) for colour, network in colours.items()]
    if len(markers) > 1:
        style: dict[str, Any] = {"color": palette.MUTED, "markersize": 7, "linestyle": "none"}
        found += [Line2D([], [], marker=marker, label=kind, **style) for marker, kind in markers.items()]
    if len(twins) > _MOST_LABELS // 2:
        return [*found, Line2D([], [], color=palette.TWIN, label="ReLU twins", **patch)]
    return [*found, *(_handle(one, line=line) for one in twins)]


def _handle(one: Series, *, line: bool) -> Line2D:
    style: dict[str, Any] = {"marker": one.marker, "markersize": 7, "linestyle": "-" if line else "none"}
    if line and one.is_twin:
        style = {"linestyle": one.line, "linewidth": 1.6}
    return Line2D([], [], color=one.colour, label=one.label, **style)


def legend(figure: Figure, handles: Sequence[Line2D], *, columns: int = 2) -> None:
    """Put a legend over the axes, in fewer columns where the names are long; the figure grows by what it needs."""
    # Without explicit labels, one that starts with an underscore would be left out.
    labels = [str(handle.get_label()) for handle in handles]
    longest = max(map(len, labels), default=0) + _HANDLE
    columns = max(1, min(columns, int(figure.get_figwidth() * _CHARACTERS / longest)))
    lines = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + _LEGEND_LINE * max(0, lines - 2))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handletextpad=0.5, columnspacing=1.2)


def cross_handle() -> Line2D:
    """What a legend says about `CROSS`."""
    return Line2D([], [], **CROSS, label="UNSTABLE")
