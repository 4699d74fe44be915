"""Move reshapes behind element-wise nodes, where they meet their inverse and vanish.

    f(reshape(a), reshape(b), c) = reshape(f(a, b, c))      f element-wise, a and b of one shape, c a constant

A captured timestep carries a time axis of length 1 through every neuron and every residual join, and drops it again
before each convolution. After this pass both reshapes stand side by side, `RemoveReshapes` drops them, and the axis is
gone. Refused where the operands' shapes differ, are not static, or where a constant would broadcast differently.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tks_edge_export.capture import is_lif
from tks_edge_export.passes.reshape_chain import chain_origin
from tks_edge_export.values import constant, is_constant, static_shape

_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Relu", "Cast", "Sigmoid", "Tanh", "Neg", "Abs"})


class SinkReshapes(ir.passes.InPlacePass):
    """Move reshapes towards the outputs, through LIF and other element-wise nodes."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place; one sweep in topological order is enough."""
        modified = False
        for node in list(model.graph):
            if refusal(node) is None:
                _sink(model.graph, node)
                modified = True
        return ir.passes.PassResult(model, modified)


def refusal(node: ir.Node) -> str | None:
    """Why no reshape can be moved behind `node`, or None when one can."""
    if not (is_lif(node) or (node.domain == "" and node.op_type in _ELEMENTWISE)):
        return "the node is not element-wise"
    origins = _origins(node)
    shapes = {static_shape(origin) for origin, value in origins if origin is not value}
    if not shapes:
        return "no input is reshaped"
    if len(shapes) != 1 or None in shapes:
        return "the reshaped inputs come from different shapes"
    (inner,) = shapes
    outer = static_shape(node.outputs[0])
    for origin, value in origins:
        if origin is not value and static_shape(value) != outer:
            return "an input broadcasts"
        if origin is value and not is_constant(value):
            return "an input is neither reshaped nor constant"
        if origin is value and not _broadcasts_alike(static_shape(value), outer, inner):
            return "a constant would broadcast differently"
    return None


def _origins(node: ir.Node) -> list[tuple[ir.Value, ir.Value]]:
    """Each input with the value it is a reshape of; the same value twice where it is none."""
    return [(chain_origin(value), value) for value in node.inputs if value is not None]


def _broadcasts_alike(
    constant: tuple[int, ...] | None, outer: tuple[int, ...] | None, inner: tuple[int, ...] | None
) -> bool:
    """Whether a constant of this shape meets the same trailing axes before and after the reshape."""
    if constant is None or outer is None or inner is None:
        return False
    rank = len(constant)
    return rank == 0 or (rank <= len(inner) and inner[-rank:] == outer[-rank:])


def _sink(graph: ir.Graph, node: ir.Node) -> None:
    origins = _origins(node)
    inner = next(origin for origin, value in origins if origin is not value)
    old = node.outputs[0]
    # A node goes by the name of its output, which the reshape takes over.
    inputs, attributes = [origin for origin, _ in origins], node.attributes.values()
    moved = ir.Node(node.domain, node.op_type, inputs, attributes, name=f"{node.name}.inner")
    moved.metadata_props.update(node.metadata_props)
    result = moved.outputs[0]
    result.name, result.shape, result.type = f"{old.name}.inner", inner.shape, old.type
    shape = constant(f"{old.name}.shape", np.asarray(static_shape(old), dtype=np.int64))
    graph.register_initializer(shape)
    reshape = ir.Node("", "Reshape", [result, shape], name=f"{old.name}.reshape")
    outer, name = reshape.outputs[0], old.name
    outer.shape, outer.type = old.shape, old.type
    ir.convenience.replace_nodes_and_values(graph, node, [node], [moved, reshape], [old], [outer])
    outer.name = name
