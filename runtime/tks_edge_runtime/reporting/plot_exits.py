"""Early exit: at which step the samples of the evaluation set stopped."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.plot_parts import HEIGHT, WIDTH, legend
from tks_edge_runtime.reporting.row import Row


def stopping(rows: Sequence[Row]) -> list[Row]:
    """The rows that are drawn: each rule once, since where samples stop hardly depends on the engine."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.early_exit is not None and row.early_exit.stopped is not None:
            found.setdefault(row.file, row)
    return list(found.values())[: len(palette.SERIES)]


def drawn(rows: Sequence[Row]) -> Figure:
    """The share of samples that stopped at each step, beside each other for each rule."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(rows)
    handles = []
    for index, row in enumerate(rows):
        stopped = row.early_exit.stopped if row.early_exit is not None else None
        counts = stopped or ()
        x = [t + (index - (len(rows) - 1) / 2) * width for t in range(1, len(counts) + 1)]
        shares = [100 * count / sum(counts) for count in counts]
        colour = palette.SERIES[index]
        axes.bar(x, shares, width, color=colour, zorder=3)
        handles.append(Line2D([], [], color=colour, linewidth=6, solid_capstyle="butt", label=row.file))
    most = max(row.timesteps for row in rows)
    axes.set_xticks(range(1, most + 1), [str(t) for t in range(1, most + 1)])
    axes.set_xlabel("stopped after so many timesteps")
    axes.set_ylabel("% of the evaluation set")
    legend(figure, handles, columns=1)
    return figure
