"""The plots of a report, drawn with matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from tks_edge_runtime.reporting import (
    plot_distributions,
    plot_exits,
    plot_layers,
    plot_machine,
    plot_pareto,
    plot_timesteps,
)
from tks_edge_runtime.reporting.document import ReportDocument
from tks_edge_runtime.reporting.plot_forms import Plot, saved
from tks_edge_runtime.reporting.plot_parts import MANY, STYLE, Marks, outstanding
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.series import series_of


def draw(document: ReportDocument) -> tuple[Plot, ...]:
    """Every plot that the document has data for; the plots over T need a network that was measured at two T."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name may hold characters that the font lacks; the table and the JSON have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return (*_of_rows(document.rows), *_of_layers(document.rows), *_of_the_machine(document))


def _of_rows(rows: Sequence[Row]) -> list[Plot]:
    """The plots of accuracies and latencies, of the rows that were measured."""
    timed = [row for row in rows if row.latency is not None]
    series, marks = list(series_of(timed)), Marks(rows)
    over_timesteps = any(len({row.timesteps for row in one.rows if row.early_exit is None}) > 1 for one in series)
    judged = any(row.accuracy is not None for row in timed)
    found: list[Plot] = []
    if judged:
        wide, narrow = (plot_pareto.drawn(series, marks, wide=wide) for wide in (True, False))
        found.append(_described("accuracy-latency", "Accuracy against latency", wide, timed, narrow=narrow))
    if over_timesteps and judged:
        figure = plot_timesteps.accuracy(series, marks)
        found.append(_described("accuracy-timesteps", "Accuracy against T", figure, timed))
    if over_timesteps:
        found.append(_described("latency-timesteps", "Latency against T", plot_timesteps.latency(series, marks), timed))
    if timed:
        figure = plot_distributions.drawn(series, marks)
        note = plot_distributions.LEFT_OUT if len(timed) > MANY else ""
        found.append(_described("latency-distribution", "Latency distributions", figure, timed, note=note))
    return found


def _of_layers(rows: Sequence[Row]) -> list[Plot]:
    """Where the time of each profiled row goes, and where early exit stops."""
    found = []
    for place, row in enumerate(rows):
        if row.layer_profile is not None:
            layers = "; ".join(f"{layer.path} {layer.ms:.3g} ms" for layer in plot_layers.drawn_layers(row))
            title = f"Layers of {row.title}"
            found.append(saved(plot_layers.drawn(row), f"layers-{place}", title, f"{title}. {layers}."))
    exits = plot_exits.stopping(rows)
    if exits:
        title = "Where early exit stops"
        told = "; ".join(f"{row.title} after {_stopped(row)}" for row in exits)
        found.append(saved(plot_exits.drawn(exits), "early-exit", title, f"{title}. {told}."))
    return found


def _stopped(row: Row) -> str:
    steps = row.early_exit.mean_steps if row.early_exit is not None else None
    return "an unknown number of steps" if steps is None else f"{steps:.2f} steps on average"


def _of_the_machine(document: ReportDocument) -> list[Plot]:
    panels = plot_machine.panels_of(document.device_state.during)
    if not panels:
        return []
    title = "The machine while measuring"
    description = f"{title}. {'; '.join(panel.description for panel in panels)}."
    return [saved(plot_machine.drawn(panels), "machine-state", title, description)]


def _described(
    name: str, title: str, figure: Figure, rows: Sequence[Row], *, narrow: Figure | None = None, note: str = ""
) -> Plot:
    """The plot with its points in words; of many rows only those that stand out."""
    told = outstanding(rows)
    points = (
        f"{row.title}: {f'{row.accuracy.percent:.2f} %, ' if row.accuracy is not None else ''}{row.typical:.3g} ms"
        f"{', UNSTABLE' if row.unstable else ''}"
        for row in told
        if row.typical is not None
    )
    rest = f" The other {len(rows) - len(told)} rows are in the table." if len(told) < len(rows) else ""
    return saved(figure, name, title, f"{title}. {'; '.join(points)}.{rest}", narrow=narrow, note=note)
