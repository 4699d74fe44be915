"""The plots of a report, drawn with matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tks_edge_runtime.report import palette
from tks_edge_runtime.report.document import ReportDocument, Row
from tks_edge_runtime.report.labels import Box, place
from tks_edge_runtime.report.plot_forms import Plot, saved
from tks_edge_runtime.report.plot_parts import CROSS, RING, STAIRS, cross_handle, handle_of, legend, logarithmic
from tks_edge_runtime.report.series import Series, series_of

_WIDTH, _HEIGHT = 4.8, 3.5
_FONT = 10.0
_STYLE: Any = {
    "font.size": _FONT,
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
    "legend.fontsize": _FONT - 1,
}
_MARKS = {"p50": ("|", "p50"), "p90": ("^", "p90"), "p99": ("s", "p99"), "max": ("o", "slowest")}


def draw(document: ReportDocument) -> tuple[Plot, ...]:
    """Every plot that the rows have data for; the plots over T need a network that was measured at two T."""
    rows = [row for row in document.rows if row.latency is not None]
    series = list(series_of(rows))
    found: list[Plot] = []
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A name may hold characters that the font lacks; the table and the JSON have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if any(row.accuracy is not None for row in rows):
            found.append(_described("accuracy-latency", "Accuracy against latency", _accuracy_latency(series), rows))
        if any(len({row.timesteps for row in one.rows}) > 1 for one in series):
            if any(row.accuracy is not None for row in rows):
                found.append(
                    _described("accuracy-timesteps", "Accuracy against T", _over_timesteps(series, _accuracy_bar), rows)
                )
            found.append(
                _described("latency-timesteps", "Latency against T", _over_timesteps(series, _latency_bar), rows)
            )
        if rows:
            found.append(_described("latency-distribution", "Latency distributions", _distributions(series), rows))
    return tuple(found)


def _point_labels(rows: Sequence[Row]) -> list[str]:
    """T, and of several twins the precision; the series say the rest."""
    several = sum(row.is_twin for row in rows) > 1
    twin = "twin {}" if several else "twin"
    names = (twin.format(row.precision) if row.is_twin else f"T={row.timesteps}" for row in rows)
    return [f"{name} UNSTABLE" if row.unstable else name for name, row in zip(names, rows, strict=True)]


def _figure(height: float = _HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _accuracy_latency(series: Sequence[Series]) -> Figure:
    """Accuracy with its interval over the median latency with a bar to the 90th percentile, and the Pareto front."""
    figure, axes = _figure()
    shown = [(one, row) for one in series for row in one.rows if row.accuracy is not None]
    latencies = [row.latency.p50 for _, row in shown if row.latency is not None]
    if not logarithmic(axes, latencies):
        tails = [row.latency.p90 or row.latency.p50 for _, row in shown if row.latency is not None]
        axes.set_xlim(0, 1.12 * max(tails))
    for one, row in shown:
        _point(axes, one, row)
    _front(axes, [row for _, row in shown if row.pareto])
    handles = [handle_of(one) for one in series if any(row.accuracy is not None for row in one.rows)]
    if any(row.recommended for _, row in shown):
        handles.append(Line2D([], [], **RING, label="pick: fastest within 1 point"))
    if sum(row.pareto for _, row in shown) > 1:
        handles.append(Line2D([], [], **STAIRS, label="front"))
    if any(row.unstable for _, row in shown):
        handles.append(cross_handle())
    axes.set_xlabel("e2e latency, ms: median, bar to p90")
    axes.set_ylabel("accuracy, %, with 95 % interval")
    legend(figure, handles)
    _name_points(figure, axes, [row for _, row in shown])
    return figure


def _point(axes: Axes, one: Series, row: Row) -> None:
    if row.latency is None or row.accuracy is None:
        return
    x, y = row.latency.p50, row.accuracy.percent
    right = (row.latency.p90 or x) - x
    axes.errorbar(
        [x], [y],
        xerr=[[0.0], [right]],
        yerr=[[y - row.accuracy.low], [row.accuracy.high - y]],
        fmt="none", ecolor=one.colour, elinewidth=1.3, alpha=0.55, zorder=3,
    )  # fmt: skip
    if row.recommended:
        axes.plot([x], [y], **RING, zorder=4)
    axes.plot([x], [y], one.marker, markersize=8, color=one.colour, markeredgecolor=palette.SURFACE, zorder=5)
    if row.unstable:
        axes.plot([x], [y], **CROSS)


def _front(axes: Axes, rows: Sequence[Row]) -> None:
    """One staircase for each evaluation set: accuracies on different sets do not compare."""
    sets: dict[str | None, list[tuple[float, float]]] = {}
    for row in rows:
        if row.latency is not None and row.accuracy is not None:
            key = row.evaluation.identity if row.evaluation is not None else None
            sets.setdefault(key, []).append((row.latency.p50, row.accuracy.percent))
    for points in sets.values():
        x, y = zip(*sorted(points), strict=True)
        axes.step(x, y, where="post", **STAIRS, zorder=2)


def _name_points(figure: Figure, axes: Axes, rows: Sequence[Row]) -> None:
    """Write T at each point; the recommended ones choose their place first."""
    figure.draw_without_rendering()
    frame = Box(*axes.get_window_extent().extents)
    points = [
        (point, row) for row in sorted(rows, key=lambda row: not row.recommended) if (point := row.point) is not None
    ]
    names = _point_labels([row for _, row in points])
    positions = [tuple(axes.transData.transform(point)) for point, _ in points]
    bars = [bar for _, row in points for bar in _bars(axes, row)]
    for (point, row), name, offset in zip(points, names, place(positions, names, _FONT, frame, bars), strict=True):
        weight = "bold" if row.recommended else "normal"
        leader = {"arrowstyle": "-", "color": palette.MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            name,
            point,
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontweight=weight,
            bbox={"facecolor": palette.SURFACE, "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            arrowprops=leader if abs(offset[1]) > 2 * _FONT else None,
            zorder=4.5,
        )


def _bars(axes: Axes, row: Row) -> Iterator[Box]:
    """Where the two error bars of a point are on the page, in points."""
    accuracy, latency = _accuracy_bar(row), _latency_bar(row)
    if accuracy is None or latency is None:
        return
    (y, low, high), (x, _, right) = accuracy, latency
    for start, end in (((x, low), (x, high)), ((x, y), (right, y))):
        (x0, y0), (x1, y1) = axes.transData.transform((start, end))
        yield Box(x0 - 1, y0 - 1, x1 + 1, y1 + 1)


def _accuracy_bar(row: Row) -> tuple[float, float, float] | None:
    accuracy = row.accuracy
    return None if accuracy is None else (accuracy.percent, accuracy.low, accuracy.high)


def _latency_bar(row: Row) -> tuple[float, float, float] | None:
    latency = row.latency
    return None if latency is None else (latency.p50, latency.p50, latency.p90 or latency.p50)


def _over_timesteps(series: Sequence[Series], bar: Callable[[Row], tuple[float, float, float] | None]) -> Figure:
    """A value with its interval over T; the twin, which has no T, is a horizontal line."""
    figure, axes = _figure()
    shown = [one for one in series if any(bar(row) is not None for row in one.rows)]
    spiking = [one for one in shown if not one.is_twin]
    every = sorted({row.timesteps for one in spiking for row in one.rows})
    for one in shown:
        values = [(row.timesteps, value) for row in one.rows if (value := bar(row)) is not None]
        doubtful = [value[0] for row in one.rows if row.unstable and (value := bar(row)) is not None]
        if one.is_twin:
            axes.axhline(values[0][1][0], color=one.colour, linewidth=1.6, linestyle=one.line)
            axes.plot([every[0]] * len(doubtful), doubtful, **CROSS)
            continue
        # Series that would lie upon each other stand side by side.
        shift = (spiking.index(one) - (len(spiking) - 1) / 2) * 0.012 * (every[-1] - every[0])
        x = [timesteps + shift for timesteps, _ in values]
        y, low, high = (np.array(column) for column in zip(*(value for _, value in values), strict=True))
        below, above = (y - low).tolist(), (high - y).tolist()  # Matplotlib 3.10 stumbles over arrays of one number
        axes.errorbar(
            x, y, yerr=[below, above], linewidth=1.8, elinewidth=1.3,
            color=one.colour, marker=one.marker, markersize=7, markeredgecolor=palette.SURFACE,
        )  # fmt: skip
        axes.plot([row.timesteps + shift for row in one.rows if row.unstable], doubtful, **CROSS)
    axes.set_xticks(every, [str(timesteps) for timesteps in every])
    axes.set_xlabel("timesteps T")
    if bar is _latency_bar:
        axes.set_ylim(bottom=0)
        axes.set_ylabel("e2e latency, ms: median, bar to p90")
    else:
        axes.set_ylabel("accuracy, %, with 95 % interval")
    handles = [handle_of(one, line=True) for one in shown]
    legend(figure, handles + [cross_handle()] * any(row.unstable for one in shown for row in one.rows))
    return figure


def _distributions(series: Sequence[Series]) -> Figure:
    """The whole trace of each row as a histogram over latency, with its percentiles and its slowest run."""
    shown = [(one, row, np.asarray(row.trace_ms)) for one in series for row in one.rows if row.traces is not None][::-1]
    figure, axes = _figure(1.25 + 0.45 * len(shown))
    extremes = [float(end) for _, _, trace in shown for end in (trace.min(), trace.max())]
    space = np.geomspace if logarithmic(axes, extremes) else np.linspace
    edges = space(0.98 * min(extremes), 1.02 * max(extremes), 160)
    for index, (one, row, trace) in enumerate(shown):
        counts = np.histogram(trace, edges)[0]
        heights = index + 0.8 * counts / counts.max()
        axes.axhline(index, color=palette.GRID, linewidth=0.8)
        axes.stairs(heights, edges, baseline=index, fill=True, color=one.colour, linewidth=0, zorder=3)
        for name, (marker, _) in _MARKS.items():
            value = getattr(row.latency, name)
            if value is not None:
                axes.plot([value], [index], zorder=5, **_mark(marker))
    several = len({one.label for one, _, _ in shown if not one.is_twin}) > 1
    names = _point_labels([row for _, row, _ in shown])
    if several:
        names = [f"{one.label}\n{name}" for (one, _, _), name in zip(shown, names, strict=True)]
    axes.set_yticks(range(len(shown)), names, color=palette.INK)
    axes.tick_params(axis="y", length=0, labelsize=_FONT - 2 if several else _FONT)
    axes.set_ylim(-0.4, len(shown))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("e2e latency, ms, of every timed run")
    legend(figure, [Line2D([], [], label=label, **_mark(marker)) for marker, label in _MARKS.values()], columns=4)
    return figure


def _mark(marker: str) -> dict[str, Any]:
    size = 9 if marker == "|" else 4
    return {"marker": marker, "markersize": size, "markeredgewidth": 1.5 if marker == "|" else 0, "color": palette.INK,
            "linestyle": "none"}  # fmt: skip


def _described(name: str, title: str, figure: Figure, rows: Sequence[Row]) -> Plot:
    points = (
        f"{row.title}: {f'{row.accuracy.percent:.2f} %, ' if row.accuracy is not None else ''}{row.latency.p50:.3g} ms"
        f"{', UNSTABLE' if row.unstable else ''}"
        for row in rows
        if row.latency is not None
    )
    return saved(figure, name, title, f"{title}. {'; '.join(points)}.")
