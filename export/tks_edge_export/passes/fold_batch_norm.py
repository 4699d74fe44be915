"""Fold batch norm into the convolution or matrix product before it.

    BN(f(x)) = g (W * x + b - m) + beta,  g = gamma / sqrt(var + eps)  per output channel
             = (g W) * x + (g (b - m) + beta)

for f a convolution, a transposed one, a Gemm, or a MatMul with or without its bias behind it. Threshold-dependent batch
norm is the same node with another gamma. Batch norm counts channels along axis 1, a matrix product along its last one;
where only transposes, and reshapes that keep the last axis, stand between, they are the same channels:

    BN(P(f(x))) = P(g f(x) + beta - g m),  g along the axis of f that P takes to axis 1

The new weights are computed in float64 and rounded once. Refused where what stands between is anything else or is used
elsewhere too, where a weight is not a constant, and where a product is scaled or its weight is not a matrix.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tks_edge_export.layers import bias_of, channel_axis
from tks_edge_export.provenance import note_folded
from tks_edge_export.values import array_of, constant, integer, is_constant, static_shape

Array = npt.NDArray[np.float64]
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})


class FoldBatchNorm(ir.passes.InPlacePass):
    """Drop every batch norm that can become part of the layer before it."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        norms = [node for node in model.graph if node.op_type == "BatchNormalization"]
        modified = False
        for norm in norms:
            if refusal(norm) is None:
                _fold(model.graph, norm)
                modified = True
        return ir.passes.PassResult(model, modified=modified)


def refusal(norm: ir.Node) -> str | None:
    """Why this batch norm cannot be folded, or None when it can."""
    layer, axis, between = _before(norm)
    if layer is None:
        return "it does not follow a convolution or a matrix product"
    if axis != (1 if layer.op_type in _CONVOLUTIONS else len(static_shape(layer.outputs[0]) or ()) - 1):
        return "it counts other channels than the layer before it"
    if any(len(value.uses()) > 1 or value.is_graph_output() for value in between):
        return "the layer's output is used elsewhere too"
    bias = bias_of(layer)
    constants = [*norm.inputs[1:], layer.inputs[1], None if bias is None else bias[0].inputs[bias[1]]]
    if any(value is not None and not is_constant(value) for value in constants):
        return "a weight is not a constant"
    if layer.op_type in _PRODUCTS and len(static_shape(layer.inputs[1]) or ()) != 2:
        return "the weight is not a matrix"
    scales = [layer.attributes[name].as_float() for name in ("alpha", "beta") if name in layer.attributes]
    return None if all(scale == 1.0 for scale in scales) else "the product is scaled"


def _before(norm: ir.Node) -> tuple[ir.Node | None, int, list[ir.Value]]:
    """The layer that a norm follows, the axis of its output that the norm counts along, and the values between."""
    axis = 1
    between = [value for value in norm.inputs[:1] if value is not None]
    node = between[-1].producer()
    while node is not None and node.op_type in ("Transpose", "Reshape"):
        back = _back(node, axis)
        if back is None or node.inputs[0] is None:
            return None, axis, between
        axis = back
        between.append(node.inputs[0])
        node = between[-1].producer()
    if node is not None and node.op_type == "Add":
        node = next((made for made in node.predecessors() if (bias_of(made) or (None,))[0] is node), None)
        between += [] if node is None else node.outputs
    return (node if node is not None and node.op_type in _CONVOLUTIONS | _PRODUCTS else None), axis, between


def _back(node: ir.Node, axis: int) -> int | None:
    """Which axis of the input of a transpose or a reshape becomes this axis of its output; None where it is no one."""
    if node.op_type == "Transpose":
        return node.attributes["perm"].as_ints()[axis] if "perm" in node.attributes else None
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    is_kept = before and after and axis == len(after) - 1 and before[-1] == after[-1]
    return len(before) - 1 if before and is_kept else None


def _fold(graph: ir.Graph, norm: ir.Node) -> None:
    layer, _, _ = _before(norm)
    if layer is None or norm.inputs[0] is None or layer.inputs[1] is None:
        raise AssertionError("refusal() lets only norms behind a layer pass")
    gamma, beta, mean, variance = (_array(value) for value in norm.inputs[1:5])
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    scale = gamma / np.sqrt(variance + epsilon)
    place = bias_of(layer)
    bias = 0.0 if place is None else _array(place[0].inputs[place[1]]).reshape(-1)
    name = layer.inputs[1].name
    layer.replace_input_with(1, _initializer(graph, f"{name}.folded", _scaled(layer, scale)))
    _set_bias(graph, layer, _initializer(graph, f"{name}.folded_bias", scale * (bias - mean) + beta))
    note_folded(layer, norm)
    ir.convenience.replace_all_uses_with(norm.outputs[0], norm.inputs[0], replace_graph_outputs=True)
    graph.remove(norm, safe=True)


def _scaled(layer: ir.Node, scale: Array) -> Array:
    """The weight of a layer, each output channel times its scale."""
    weight, axis = _array(layer.inputs[1]), channel_axis(layer)
    if layer.op_type == "ConvTranspose":
        # Each group has channels of its own: [inputs, outputs a group, *kernel] are those of one group after the other.
        groups = integer(layer, "group", 1)
        by_group = weight.reshape(groups, -1, *weight.shape[1:])
        factors = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        return (by_group * factors).reshape(weight.shape)
    return weight * scale.reshape([-1 if a == axis else 1 for a in range(weight.ndim)])


def _set_bias(graph: ir.Graph, layer: ir.Node, bias: ir.Value) -> None:
    """Give a layer this bias: as an input of its own, or in an addition behind a matrix product."""
    place = bias_of(layer)
    if place is not None:
        place[0].replace_input_with(place[1], bias)
    elif layer.op_type != "MatMul":
        layer.resize_inputs(3)
        layer.replace_input_with(2, bias)
    else:
        product = layer.outputs[0]
        users = [(use.node, use.idx) for use in product.uses()]
        add = ir.Node("", "Add", [product, bias], name=f"{product.name}.biased")
        add.metadata_props.update(layer.metadata_props)
        total = add.outputs[0]
        total.name, total.shape, total.type = f"{product.name}.biased", product.shape, product.type
        for user, index in users:
            user.replace_input_with(index, total)
        graph.insert_after(layer, add)


def _array(value: ir.Value | None) -> Array:
    array = array_of(value)
    if array is None:
        raise AssertionError("refusal() lets only constants pass")
    return array.astype(np.float64)


def _initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """A new constant; of one weight in several layers, each fold makes one of its own."""
    taken = sum(known == name or known.startswith(f"{name}.again") for known in graph.initializers)
    value = constant(name if not taken else f"{name}.again{taken}", array.astype(np.float32))
    graph.register_initializer(value)
    return value
