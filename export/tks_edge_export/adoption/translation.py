"""A module as a graph: recorded, its layers translated, its first timestep found and lowered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.adoption.layer import Layer
from tks_edge_export.adoption.lowering import Lowered, lower
from tks_edge_export.adoption.recording import Recording, Value, record
from tks_edge_export.adoption.timeline import Timeline, timeline

LayerOf = Callable[[str, nn.Module], Layer | None]
"""Translates a layer by its path and itself; None for a module to be looked into."""


@dataclass(frozen=True)
class Translation:
    """A module, translated.

    Attributes:
        layers: its layers, by path.
        output: what it returned that is the logits.
        line: its timesteps.
        lowered: the graph of one of them.
    """

    layers: Mapping[str, Layer]
    output: Value
    line: Timeline
    lowered: Lowered


def translate(module: nn.Module, inputs: Sequence[Tensor], layer_of: LayerOf, *, output: int = 0) -> Translation:
    """Run a module once and translate what it does.

    Args:
        module: it is not changed.
        inputs: what its forward takes.
        layer_of: translates its layers.
        output: which of the tensors that it returns are the logits.

    Raises:
        AdoptionError: something of it cannot be kept; the message names the module.
    """
    layers: dict[str, Layer] = {}

    def is_layer(path: str, inner: nn.Module) -> bool:
        found = layer_of(path, inner)
        if found is not None:
            layers[path] = found
        return found is not None

    recording = record(module, inputs, is_layer)
    value = _output(recording, output)
    line = timeline(recording, layers, value)
    return Translation(layers, value, line, lower(recording, line, layers))


def _output(recording: Recording, index: int) -> Value:
    if not 0 <= index < len(recording.outputs):
        raise AdoptionError(
            f"output is {index}, and the network returns {len(recording.outputs)} tensors; count them from 0."
        )
    return recording.outputs[index]
