"""Decide a spike by HardSigmoid, which ONNX Runtime computes inside the convolution before it, as it does ReLU.

    [x >= theta] = max(0, min(1, alpha (x - theta) + 1)),   alpha = 2^60         conv(u) + b - theta = conv(u) + (b -
    theta)

In float32 that is exactly 0 or 1 unless 0 < theta - x < 2^-60, which no rounded sum of terms near theta comes to, and
at equality it is 1. Only where the membrane is needed for nothing else: at T = 1. Refused where it is, where another
layer stands between, and in half precision, which 2^60 overflows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from tks_edge_export.values import array_of, constant, is_constant

_ALPHA = 2.0**60


class HardSigmoid(ir.passes.InPlacePass):
    """Replace Cast(Not(Less(conv, threshold))) by HardSigmoid of a convolution with another bias."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        found = [spikes for node in model.graph if (spikes := _find(node)) is not None and refusal(spikes) is None]
        for spikes in found:
            _rewrite(model.graph, spikes)
        return ir.passes.PassResult(model, modified=bool(found))


@dataclass(frozen=True)
class Spikes:
    """A membrane that is compared with a threshold, as float 0 or 1."""

    cast: ir.Node
    denied: ir.Value
    rests: ir.Value
    membrane: ir.Value
    threshold: float


def _find(cast: ir.Node) -> Spikes | None:
    denied = cast.inputs[0] if cast.op_type == "Cast" else None
    negation = denied.producer() if denied is not None else None
    rests = negation.inputs[0] if negation is not None and negation.op_type == "Not" else None
    less = rests.producer() if rests is not None else None
    if denied is None or rests is None or less is None or less.op_type != "Less":
        return None
    membrane, threshold = less.inputs
    array = array_of(threshold)
    if membrane is None or array is None or array.size != 1:
        return None
    return Spikes(cast, denied, rests, membrane, float(array.item()))


def refusal(spikes: Spikes) -> str | None:
    """Why the comparison stays as it is, or None when it can be replaced."""
    if spikes.membrane.dtype != ir.DataType.FLOAT or spikes.cast.outputs[0].dtype != ir.DataType.FLOAT:
        return "the membrane or the spikes are not float32"
    if any(len(v.uses()) > 1 or v.is_graph_output() for v in (spikes.membrane, spikes.rests, spikes.denied)):
        return "the membrane is needed for the next timestep"
    convolution = spikes.membrane.producer()
    if convolution is None or convolution.op_type != "Conv" or len(convolution.inputs) < 3:
        return "it does not follow a convolution with a bias"
    if not is_constant(convolution.inputs[2]):
        return "the bias is not a constant"
    return None


def _rewrite(graph: ir.Graph, spikes: Spikes) -> None:
    convolution = spikes.membrane.producer()
    bias = convolution.inputs[2] if convolution is not None else None
    array = array_of(bias)
    if convolution is None or bias is None or array is None:
        raise AssertionError("refusal() lets only convolutions with a constant bias pass")
    shifted = array.astype(np.float64) - spikes.threshold
    new_bias = constant(f"{bias.name}.below_threshold", shifted.astype(np.float32))
    graph.register_initializer(new_bias)
    convolution.replace_input_with(2, new_bias)
    attributes = [ir.AttrFloat32("alpha", _ALPHA), ir.AttrFloat32("beta", 1.0)]
    node = ir.Node("", "HardSigmoid", [spikes.membrane], attributes, name=spikes.cast.name)
    old, new = spikes.cast.outputs[0], node.outputs[0]
    new.shape, new.type, name = old.shape, old.type, old.name
    ir.convenience.replace_nodes_and_values(graph, spikes.cast, [spikes.cast], [node], [old], [new])
    new.name = name
