"""Which LIF layers read what a layer gives, and which nothing but spikes and the outputs of given layers.

Where the layers' outputs are the same to the bit in any order of summation, so is the current, and the spikes must be
equal in every engine. Where they are integers, the current can be one.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from tks_edge_export.capture import PATH, is_lif
from tks_edge_export.grid import Grids, grids
from tks_edge_export.layers import reached, weighted_layers
from tks_edge_export.values import is_constant

_ROUNDED_ONCE = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Neg",
        "Relu",
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Concat",
        "MaxPool",
        "GlobalMaxPool",
    }
)
"""Each output element is one of the given ones, or one rounding of them: the same on every processor."""

_WHOLE = 2**24
"""Whole numbers up to this one are exact in float32."""


def neurons_behind(graph: ir.Graph, layers: Iterable[str]) -> frozenset[str]:
    """The paths of the LIF layers whose currents are made, element by element, of spikes and outputs of `layers`.

    Args:
        graph: one captured timestep, its weights rounded.
        layers: module paths.
    """
    paths = set(layers)
    known = grids(graph)
    behind: set[ir.Value] = {
        output for layer in weighted_layers(graph) if layer.path in paths for output in layer.node.outputs
    }
    found = set()
    for node in graph:
        operands = [value for value in node.inputs if value is not None]
        if is_lif(node):
            if all(_is_behind(value, behind, known) for value in operands):
                found.add(node.attributes[PATH].as_string())
        elif node.op_type in _ROUNDED_ONCE and all(_is_behind(value, behind, known) for value in operands):
            behind.update(node.outputs)
    return frozenset(found)


def neurons_reached(value: ir.Value) -> frozenset[str]:
    """The paths of the LIF layers whose currents depend on `value` without another LIF layer between."""
    readers = [use.node for use in value.uses()]
    behind = reached(readers, lambda node: () if is_lif(node) else node.successors())
    return frozenset(node.attributes[PATH].as_string() for node in {*readers, *behind} if is_lif(node))


def _is_behind(value: ir.Value, behind: set[ir.Value], known: Grids) -> bool:
    grid = known.get(value)
    # A sum of spikes, as attention takes it, is the same in any order as long as a float32 holds it.
    is_exact = grid is not None and grid.is_dyadic and max(-grid.low, grid.high) <= _WHOLE
    return value in behind or is_exact or is_constant(value)
