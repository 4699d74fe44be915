"""What the layers of an artifact do, and what each of them takes, readable by people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tks_edge_runtime.artifact import LayerSpec, Manifest
from tks_edge_runtime.energy_estimate import estimated_energy

if TYPE_CHECKING:
    from tks_edge_runtime.layer_profile import EngineNode, LayerProfile

_NONE = "-"
_SHOWN_NODES = 3
_RATES = (
    "rate: spikes a neuron and timestep of a layer of neurons, of another layer the mean of its input, or the share of "
    "it that is not 0."
)
_PREFIXES = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def show_layers(manifest: Manifest, console: Console) -> None:
    """Print what every layer does for one sample, and the energy that is estimated from it."""
    table = Table(title=f"layers, one sample at T={manifest.timesteps}", title_justify="left")
    for column in ("layer", "MACs", "reads", "rate of its input", "fire rate"):
        table.add_column(column, justify="left" if column in ("layer", "reads") else "right", overflow="fold")
    for layer in manifest.layers:
        table.add_row(
            escape(layer.path), _macs(layer), layer.input or _NONE, _rate(layer.input_rate), _rate(layer.fire_rate)
        )
    console.print(table)
    estimate = estimated_energy(manifest)
    if estimate is not None:
        operations = estimate.operations
        console.print(
            f"estimated energy: {estimate.mj:.3g} mJ a sample, of {short(operations.accumulates)} accumulates and "
            f"{short(operations.multiply_accumulates)} multiply-accumulates; {estimate.method}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def show_profile(profile: LayerProfile, console: Console) -> None:
    """Print where the time of one batch goes."""
    table = Table(title=f"layers, one batch at T={profile.timesteps}", title_justify="left")
    for column in ("layer", "ms", "share", "MACs a sample", "rate", "engine nodes"):
        table.add_column(column, justify="left" if column in ("layer", "engine nodes") else "right", overflow="fold")
    for time in profile.layers:
        layer = time.layer
        macs = _NONE if layer is None else _macs(layer)
        row = (f"{time.ms:.3f}", f"{time.share:.1%}", macs, _rate(time.rate), _nodes(time.nodes))
        table.add_row(*map(escape, (time.path, *row)))
    table.add_section()
    table.add_row("sum", f"{profile.sum_ms:.3f}", "100.0%")
    console.print(table)
    for text in (how_measured(profile), _RATES):
        console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def how_measured(profile: LayerProfile) -> str:
    """How it was measured, and what all nodes of a run took with and without the profiler."""
    without = profile.unprofiled_ms
    return f"{profile.method}. The nodes of a run together: {profile.run_ms:.3f} ms (median)" + (
        "." if without is None else f"; a run without the profiler: {without:.3f} ms."
    )


def short(number: float) -> str:
    """Three digits and a unit's prefix: 555422720 is `555 M`."""
    for prefix, scale in _PREFIXES:
        if number >= scale:
            return f"{number / scale:.3g} {prefix}"
    return f"{number:.3g}"


def _macs(layer: LayerSpec) -> str:
    return short(layer.macs) if layer.macs else _NONE


def _rate(rate: float | None) -> str:
    return _NONE if rate is None else f"{rate:.3f}"


def _nodes(nodes: tuple[EngineNode, ...]) -> str:
    """The longest-running nodes by name, with the other layers that each computes, and how many there are besides."""
    first = sorted(nodes, key=lambda node: -node.ms)[:_SHOWN_NODES]
    texts = [node.name if len(node.layers) < 2 else f"{node.name} ({' and '.join(node.layers)})" for node in first]
    rest = len(nodes) - len(first)
    return ", ".join(texts) + (f" and {rest} more" if rest else "") or _NONE
