"""Where the time of an inference goes, as a table of words: one for the page and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tks_edge_runtime.show_layers import how_measured, short

if TYPE_CHECKING:
    from tks_edge_runtime.layer_profile import LayerProfile, LayerTime

_NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class LayerTable:
    """The layers of one profile.

    Attributes:
        title: what stands over the tables of a report.
        about: what is to be known of all of them.
        header: the names of the columns.
        right: which columns stand to the right.
        rows: the cells of each layer, in the order of execution.
        note: how this one was measured.
    """

    title: ClassVar[str] = "Where the time goes"
    about: ClassVar[str] = (
        "By the engine\N{RIGHT SINGLE QUOTATION MARK}s own profiler, in sessions of their own; a profiler takes time "
        "at every node, so the shares are what it is for. MACs: dense multiply-accumulates of one sample. Rate: of "
        "neurons, spikes a neuron and timestep; of other layers, the mean of the spikes they read, or the share of "
        "their input that is not 0."
    )
    header: ClassVar[tuple[str, ...]] = ("layer", "ms", "share", "MACs", "reads", "rate", "engine nodes")
    right: ClassVar[tuple[bool, ...]] = (False, True, True, True, False, True, False)
    rows: tuple[tuple[str, ...], ...]
    note: str


def layer_table(profile: LayerProfile) -> LayerTable:
    """The table of a profile."""
    return LayerTable(tuple(map(_cells, profile.layers)), how_measured(profile))


def _cells(time: LayerTime) -> tuple[str, ...]:
    layer = time.layer
    return (
        time.path,
        f"{time.ms:.3f}",
        f"{100 * time.share:.1f} %",
        short(layer.macs) if layer is not None and layer.macs else _NONE,
        (layer.input if layer is not None else None) or _NONE,
        _NONE if time.rate is None else f"{time.rate:.3f}",
        ", ".join(node.name for node in time.nodes) or _NONE,
    )
