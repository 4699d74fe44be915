"""Fold batch norm into the convolution before it.

    BN(conv(x)) = g (W * x + b - m) + beta,  g = gamma / sqrt(var + eps)  per output channel
                = (g W) * x + (g (b - m) + beta)

Threshold-dependent batch norm is the same node with another gamma. The new weights are computed in float64 and rounded
once. Refused where the convolution's output is used elsewhere too, or where a weight is not a constant.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tks_edge_export.provenance import inherit
from tks_edge_export.values import constant

Array = npt.NDArray[np.float64]


class FoldBatchNorm(ir.passes.InPlacePass):
    """Replace every convolution followed by a batch norm with one convolution."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        norms = [node for node in model.graph if node.op_type == "BatchNormalization"]
        folded = [node for node in norms if refusal(node) is None]
        for node in folded:
            _fold(model.graph, node)
        return ir.passes.PassResult(model, modified=bool(folded))


def refusal(norm: ir.Node) -> str | None:
    """Why this batch norm cannot be folded, or None when it can."""
    value = norm.inputs[0]
    convolution = value.producer() if value is not None else None
    if value is None or convolution is None or convolution.op_type != "Conv":
        return "it does not follow a convolution"
    if len(value.uses()) > 1 or value.is_graph_output():
        return "the convolution's output is used elsewhere too"
    constants = [*norm.inputs[1:], *convolution.inputs[1:]]
    if any(c is not None and ir.convenience.get_const_tensor(c) is None for c in constants):
        return "a weight is not a constant"
    return None


def _fold(graph: ir.Graph, norm: ir.Node) -> None:
    value = norm.inputs[0]
    convolution = value.producer() if value is not None else None
    if convolution is None:
        raise AssertionError("refusal() lets only norms behind a convolution pass")
    gamma, beta, mean, variance = (_array(constant) for constant in norm.inputs[1:5])
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    weight = _array(convolution.inputs[1])
    bias = _array(convolution.inputs[2]) if len(convolution.inputs) > 2 and convolution.inputs[2] is not None else 0.0
    scale = gamma / np.sqrt(variance + epsilon)
    name = convolution.inputs[1].name if convolution.inputs[1] is not None else convolution.name
    new_weight = _initializer(graph, f"{name}.folded", weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))
    new_bias = _initializer(graph, f"{name}.folded_bias", scale * (bias - mean) + beta)
    folded = ir.Node(
        "",
        "Conv",
        [convolution.inputs[0], new_weight, new_bias],
        convolution.attributes.values(),
        name=convolution.name,
    )
    inherit(folded, convolution, norm)
    folded.outputs[0].name = f"{name}.current"
    folded.outputs[0].shape, folded.outputs[0].type = norm.outputs[0].shape, norm.outputs[0].type
    ir.convenience.replace_nodes_and_values(
        graph, norm, [norm, convolution], [folded], [norm.outputs[0]], [folded.outputs[0]]
    )


def _array(value: ir.Value | None) -> Array:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None:
        raise AssertionError("refusal() lets only constants pass")
    return tensor.numpy().astype(np.float64)


def _initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    value = constant(name, array.astype(np.float32))
    graph.register_initializer(value)
    return value
