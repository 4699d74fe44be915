"""The neurons and layers of SpikingJelly 2.0.

    LIFNode              h = v + (x - (v - v_reset)) / tau           decay_input
                         h = v - (v - v_reset) / tau + x             without
    ParametricLIFNode    the same with * sigmoid(w) in place of / tau
    IFNode               h = v + x

A spike where h - v_threshold >= 0, then v_reset or, where that is None, the threshold off. Source: `_ops/lif`,
`_ops/plif` and `_ops/if_` of 2.0.0. In step_mode "m" a layer takes `[T, B, ...]`.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from tks_edge_export.adoption import torch_layers
from tks_edge_export.adoption.layer import ONE_STEP, TIME_FIRST, Layer, number, refuse
from tks_edge_models.graph_operators import lif_options
from tks_edge_models.lif import LIFParameters

package = "spikingjelly"


def layer(path: str, module: nn.Module) -> Layer | None:
    """Translate a neuron or a layer; None for a module to be looked into.

    Raises:
        AdoptionError: another neuron, or a property that cannot be kept.
    """
    from spikingjelly.activation_based import base, layer, neuron

    if isinstance(module, (neuron.BaseNode, neuron.SimpleBaseNode)):
        return _neuron(path, module)
    axes = TIME_FIRST if getattr(module, "step_mode", "s") == "m" else ONE_STEP
    if isinstance(module, (layer.WSConv2d, layer.WSLinear)):
        raise refuse(path, module, "it standardizes its weights as it runs")
    if isinstance(module, layer.VotingLayer):
        return Layer("voting", {"size": module.voting_size}, axes=axes)
    if isinstance(module, layer.Dropout):
        return Layer("identity", axes=axes)
    if isinstance(module, base.StepModule) and type(module).__module__.endswith(("stateless_wrapper", "layer.bn")):
        return torch_layers.derived(path, module, axes=axes)
    if isinstance(module, base.MemoryModule) and not list(module.children()):
        raise refuse(path, module, "it has a state that ours has not")
    return None


def _neuron(path: str, module: Any) -> Layer:
    from spikingjelly.activation_based import neuron

    axes = TIME_FIRST if module.step_mode == "m" else ONE_STEP
    threshold = number(path, module, "v_threshold", module.v_threshold)
    v_reset = None if module.v_reset is None else number(path, module, "v_reset", module.v_reset)
    if threshold <= (v_reset or 0.0):
        raise refuse(path, module, f"v_threshold is {threshold}, not above the potential at rest, {v_reset or 0.0}")
    if type(module) is neuron.IFNode:
        params = LIFParameters(tau=math.inf, v_threshold=threshold, v_reset=v_reset, decay_input=False)
        return Layer("lif", lif_options(params), axes=axes)
    options = {"v_threshold": threshold, "v_reset": v_reset}
    if type(module) is neuron.LIFNode:
        options |= {"tau": number(path, module, "tau", module.tau), "decay_input": module.decay_input}
        return Layer("relaxing_lif", options, axes=axes)
    if type(module) is neuron.ParametricLIFNode:
        rate = number(path, module, "w", module.w.detach().sigmoid())
        return Layer("relaxing_lif", options | {"rate": rate, "decay_input": module.decay_input}, axes=axes)
    raise refuse(path, module, "of SpikingJelly's neurons only LIFNode, ParametricLIFNode and IFNode are known")
