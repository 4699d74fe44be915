"""Move reshapes behind element-wise nodes, where they meet their inverse and vanish.

    f(reshape(a), reshape(b), c) = reshape(f(a, b, c))      f element-wise, a and b of one shape, c a constant

A captured timestep carries a time axis of length 1 through every neuron and every residual join, and drops it again
before each convolution. After this pass both reshapes stand side by side, `RemoveReshapes` drops them, and the axis is
gone. Refused where the operands' shapes differ, are not static, or where a constant would broadcast differently.
"""

from __future__ import annotations

import onnx_ir as ir

from tks_edge_export.capture import is_lif

RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
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


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of `value` where every axis is known, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(value.shape.numpy())


def refusal(node: ir.Node) -> str | None:
    """Why no reshape can be moved behind `node`, or None when one can."""
    if not (is_lif(node) or (node.domain == "" and node.op_type in _ELEMENTWISE)):
        return "the node is not element-wise"
    reshaped = [value for value in node.inputs if _is_reshaped(value)]
    if not reshaped:
        return "no input is reshaped"
    shapes = {static_shape(_source(value)) for value in reshaped}
    if len(shapes) != 1 or None in shapes:
        return "the reshaped inputs come from different shapes"
    (source,) = shapes
    outer = static_shape(node.outputs[0])
    for value in node.inputs:
        if _is_reshaped(value):
            if static_shape(value) != outer:
                return "an input broadcasts"
        elif value is None or ir.convenience.get_const_tensor(value) is None:
            return "an input is neither reshaped nor constant"
        elif not _broadcasts_alike(static_shape(value), outer, source):
            return "a constant would broadcast differently"
    return None


def _broadcasts_alike(
    constant: tuple[int, ...] | None, outer: tuple[int, ...] | None, inner: tuple[int, ...] | None
) -> bool:
    """Whether a constant of this shape meets the same trailing axes before and after the reshape."""
    if constant is None or outer is None or inner is None:
        return False
    rank = len(constant)
    return rank == 0 or (rank <= len(inner) and inner[-rank:] == outer[-rank:])


def _is_reshaped(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    return producer is not None and producer.domain == "" and producer.op_type in RESHAPES


def _source(value: ir.Value | None) -> ir.Value | None:
    producer = value.producer() if value is not None else None
    return producer.inputs[0] if producer is not None else None


def _sink(graph: ir.Graph, node: ir.Node) -> None:
    inputs = [_source(value) if _is_reshaped(value) else value for value in node.inputs]
    inner = next(_source(value) for value in node.inputs if _is_reshaped(value))
    old = node.outputs[0]
    moved = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), name=node.name)
    moved.outputs[0].name = f"{old.name}.inner"
    moved.outputs[0].shape, moved.outputs[0].type = inner.shape if inner is not None else None, old.type
    target = static_shape(old)
    shape = ir.Value(name=f"{old.name}.shape", const_value=ir.tensor(list(target or ()), dtype=ir.DataType.INT64))
    shape.shape, shape.type = ir.Shape([len(target or ())]), ir.TensorType(ir.DataType.INT64)
    graph.register_initializer(shape)
    reshape = ir.Node("", "Reshape", [moved.outputs[0], shape], name=f"{node.name}.reshape")
    name = old.name
    reshape.outputs[0].shape, reshape.outputs[0].type = old.shape, old.type
    ir.convenience.replace_nodes_and_values(graph, node, [node], [moved, reshape], [old], [reshape.outputs[0]])
    reshape.outputs[0].name = name
