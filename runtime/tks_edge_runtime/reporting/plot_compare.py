"""Two or more reports side by side: how many times each latency is what it was, and where accuracy went with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.compare import Pair
from tks_edge_runtime.reporting.plot_forms import Plot, saved
from tks_edge_runtime.reporting.plot_parts import FONT, HEIGHT, STYLE, WIDTH, legend, logarithmic

_MOST = 40
"""Of more pairs those are drawn whose latency changed most; the table has all."""
_LONGEST = 34


class Placed(NamedTuple):
    """A pair of rows, its place in the table, and the report that its second row is from, counted from 0."""

    place: int
    pair: Pair
    report: int


def draw_comparison(placed: Sequence[Placed], letters: Sequence[str]) -> tuple[Plot, ...]:
    """The plots of what was measured in both reports.

    Args:
        placed: every pair.
        letters: what the reports after A are called.
    """
    measured = [one for one in placed if one.pair.ratio is not None]
    judged = [one for one in measured if all(row.point is not None for row in one.pair)]
    found = []
    with matplotlib.rc_context(STYLE):
        if measured:
            shown = sorted(sorted(measured, key=_change)[-_MOST:], key=lambda one: one.place)
            told = "; ".join(f"{_title(one, letters)}: {one.pair.ratio:.3f} times A" for one in shown)
            note = " ".join(_notes(shown, left_out=len(measured) > _MOST))
            title = "Latency in units of A, with 95 % intervals"
            found.append(saved(_ratios(shown, letters), "ratios", title, f"{title}. {told}.", note=note))
        if judged:
            title = "From A to " + " and ".join(letters)
            told = "; ".join(_moved(one, letters) for one in judged[:_MOST])
            note = " ".join(_notes(judged, left_out=False))
            found.append(saved(_movement(judged, letters), "movement", title, f"{title}. {told}.", note=note))
    return tuple(found)


def _notes(shown: Sequence[Placed], *, left_out: bool) -> Iterator[str]:
    if left_out:
        yield f"The {_MOST} that changed most."
    if any(one.pair.typical_name == "mean" for one in shown):
        yield "Medians; of early exit means."


def _change(one: Placed) -> float:
    ratio = one.pair.ratio or 1.0
    return max(ratio, 1 / ratio)


def _title(one: Placed, letters: Sequence[str]) -> str:
    title = one.pair.title if len(one.pair.title) <= _LONGEST else f"{one.pair.title[: _LONGEST - 1]}…"
    return title if len(letters) == 1 else f"{title} {letters[one.report]}"


def _moved(one: Placed, letters: Sequence[str]) -> str:
    steps = (
        f"{row.accuracy.percent:.2f} % at {row.typical:.3g} ms"
        for row in one.pair
        if row.accuracy is not None and row.typical is not None
    )
    return f"{_title(one, letters)}: {' to '.join(steps)}"


def _ratios(shown: Sequence[Placed], letters: Sequence[str]) -> Figure:
    """A line for each pair: the ratio, its interval, and 1."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.24 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1.0, color=palette.INK, linewidth=1.0, zorder=2)
    for y, one in enumerate(shown):
        colour, ratio, found = _colour(one.report), one.pair.ratio, one.pair.interval
        if found is not None:
            axes.plot([found.low, found.high], [y, y], color=colour, linewidth=2, alpha=0.6, zorder=3,
                      gid=f"part-interval.{one.place}")  # fmt: skip
        axes.plot([ratio or 1.0], [y], "o", color=colour, markersize=7, markeredgecolor=palette.SURFACE, zorder=4,
                  gid=f"point.{one.place}")  # fmt: skip
    axes.set_yticks(range(len(shown)), [_title(one, letters) for one in shown], fontsize=FONT - 2, color=palette.INK)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("times A (left of 1: faster)")
    _named(figure, letters)
    return figure


def _movement(judged: Sequence[Placed], letters: Sequence[str]) -> Figure:
    """A line for each pair, from its point in A (hollow) to that in the other report (filled)."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    for one in judged:
        (x0, y0), (x1, y1) = (row.point for row in one.pair if row.point is not None)
        colour = _colour(one.report)
        axes.plot([x0, x1], [y0, y1], color=colour, linewidth=1.2, alpha=0.6, zorder=3, gid=f"line.{one.place}")
        axes.plot([x0], [y0], "o", color=colour, markersize=6, markerfacecolor=palette.SURFACE, zorder=6,
                  gid=f"part-before.{one.place}")  # fmt: skip
        axes.plot([x1], [y1], "o", color=colour, markersize=7, markeredgecolor=palette.SURFACE, zorder=5,
                  gid=f"point.{one.place}")  # fmt: skip
    latencies = [row.point[0] for one in judged for row in one.pair if row.point is not None]
    logarithmic(axes, latencies)
    axes.set_xlabel("end-to-end latency, ms (hollow: A)")
    axes.set_ylabel("accuracy, %")
    _named(figure, letters)
    return figure


def _colour(report: int) -> str:
    return palette.SERIES[report % len(palette.SERIES)]


def _named(figure: Figure, letters: Sequence[str]) -> None:
    if len(letters) > 1:
        marks = [
            Line2D([], [], color=_colour(index), marker="o", linestyle="none", label=letter)
            for index, letter in enumerate(letters)
        ]
        legend(figure, marks, columns=4)
