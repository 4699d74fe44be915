"""A unit of potential for each channel of a neuron: what lets weights with power-of-two scales use all of 8 bits.

    fires at h >= v_threshold       is       fires at a h >= a v_threshold        for any a > 0

and with rest at 0 every other equation of the neuron is linear in h, so a channel whose current is multiplied by `a`
fires the same spikes once its threshold is. `quantization` takes for `a` what fills the range of a channel's codes; the
threshold carries it, a constant of a few hundred numbers where there was one, and nothing is computed that was not.
That needs a layer whose output goes into one neuron and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tks_edge_export.capture import PATH, is_lif
from tks_edge_export.layers import Layer
from tks_edge_export.values import Array, static_shape
from tks_edge_models import LIFParameters

_CHANNELS_FIRST = "Conv"
_CHANNELS_LAST = frozenset({"Gemm", "MatMul"})


def receivers(layers: Sequence[Layer], neurons: Mapping[str, LIFParameters]) -> dict[str, str]:
    """The LIF layer that alone reads a layer's output, by the paths of both; only where `refusal` has no reason."""
    return {layer.path: _receiver(layer) for layer in layers if refusal(layer, layers, neurons) is None}


def refusal(layer: Layer, layers: Sequence[Layer], neurons: Mapping[str, LIFParameters]) -> str | None:
    """Why the channels of a layer cannot have units of their own, or None when they can.

    Args:
        layer: of one captured timestep.
        layers: all of it whose weights are rounded.
        neurons: the constants of its LIF layers.
    """
    if layer.node.op_type != _CHANNELS_FIRST and layer.node.op_type not in _CHANNELS_LAST:
        return "the layer's output channels are not one axis of its output"
    if Counter(other.path for other in layers)[layer.path] != 1:
        return "the layer runs at several places"
    users = [use.node for use in layer.output.uses()]
    if len(users) != 1 or not is_lif(users[0]) or layer.output.is_graph_output():
        return "not one neuron alone reads the layer's output"
    if _receiver(layer) not in neurons:
        return "the neuron is traced, not a LIF"
    if neurons[_receiver(layer)].v_rest:
        return "the neuron rests at another potential than 0"
    return None


def _receiver(layer: Layer) -> str:
    return next(use.node for use in layer.output.uses()).attributes[PATH].as_string()


def thresholds(layer: Layer, units: Array, params: LIFParameters) -> Array:
    """The threshold of each channel in its unit, float32, in a shape that broadcasts against the layer's output.

    Args:
        layer: whose output the neuron reads.
        units: how much the current of each channel was multiplied by, `[channels]`.
        params: the neuron's constants.
    """
    rank = len(static_shape(layer.output) or ())
    behind = rank - 2 if layer.node.op_type == _CHANNELS_FIRST else 0
    values: Array = (params.v_threshold * units).astype(np.float32).reshape(-1, *[1] * behind)
    return values
