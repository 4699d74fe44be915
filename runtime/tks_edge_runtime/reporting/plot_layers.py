"""The layers of one row: where its time goes, and how often its neurons fire."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from tks_edge_runtime.layer_profile import LayerTime
from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.plot_parts import FONT, WIDTH
from tks_edge_runtime.reporting.row import Row

_MOST = 30
"""Of more layers only those that take longest are drawn; the table has all."""


def drawn(row: Row) -> Figure:
    """Bars of the time of each layer, in the order of execution, and beside them the fire rates of its neurons.

    Args:
        row: with a layer profile.
    """
    layers = drawn_layers(row)
    rates = [layer.layer.fire_rate if layer.layer is not None else None for layer in layers]
    fires = any(rate is not None for rate in rates)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.21 * len(layers)), layout="constrained")
    panels = figure.subplots(1, 2 if fires else 1, sharey=True, squeeze=False)[0]
    places = range(len(layers))
    panels[0].barh(places, [layer.ms for layer in layers], color=palette.SERIES[0], height=0.7, zorder=3)
    panels[0].set_xlabel("ms of a batch")
    if fires:
        panels[1].barh(places, [rate or 0.0 for rate in rates], color=palette.SERIES[1], height=0.7, zorder=3)
        panels[1].set_xlabel("spikes a neuron and timestep")
    panels[0].set_yticks(places, [layer.path for layer in layers], fontsize=FONT - 2, color=palette.INK)
    panels[0].invert_yaxis()
    for axes in panels:
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def drawn_layers(row: Row) -> Sequence[LayerTime]:
    """The layers that are drawn, in the order of execution."""
    layers = row.layer_profile.layers if row.layer_profile is not None else ()
    longest = sorted(layers, key=lambda layer: -layer.ms)[:_MOST]
    return [layer for layer in layers if layer in longest]
