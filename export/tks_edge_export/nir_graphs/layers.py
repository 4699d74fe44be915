"""The stateless nodes of NIR as operators of ours, with their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from tks_edge_export.nir_graphs.values import integers, number, refuse, weights
from tks_edge_export.nir_graphs.wiring import Wired


@dataclass(frozen=True)
class MadeLayer:
    """A node as an operator: a key of `graph_operators.OPERATORS`, its options, its weights by their name there."""

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)


def layer(wired: Wired) -> MadeLayer | None:
    """A stateless node; None for one that has a state.

    Raises:
        NirError: there is no operator for it, or something about it cannot be kept.
    """
    made = _KINDS.get(wired.kind)
    return None if made is None else made(wired)


def _linear(wired: Wired) -> MadeLayer:
    weight = weights(wired, "weight", 2)
    outputs, inputs = weight.shape
    options = {"in_features": inputs, "out_features": outputs, "bias": wired.kind == "Affine"}
    if wired.kind == "Linear":
        return MadeLayer("linear", options, {"weight": weight})
    return MadeLayer("linear", options, {"weight": weight, "bias": _bias(wired, outputs)})


def _bias(wired: Wired, outputs: int) -> Tensor:
    bias = weights(wired, "bias", 1)
    if len(bias) != outputs:
        raise refuse(wired, f"bias has {len(bias)} values for {outputs} outputs")
    return bias


def _convolution(wired: Wired, axes: int) -> MadeLayer:
    weight = weights(wired, "weight", axes + 2)
    groups = integers(wired, "groups", 1, 1)[0]
    outputs, inputs = weight.shape[0], weight.shape[1] * groups
    if outputs % groups:
        raise refuse(wired, f"{outputs} outputs do not divide into groups of {groups}")
    padding = wired.node.padding
    named = padding.decode() if isinstance(padding, bytes) else padding
    options = {
        "in_channels": inputs,
        "out_channels": outputs,
        "kernel_size": list(weight.shape[2:]),
        "stride": integers(wired, "stride", axes, 1),
        "padding": named if isinstance(named, str) else integers(wired, "padding", axes, 0),
        "dilation": integers(wired, "dilation", axes, 1),
        "groups": groups,
        "bias": True,
    }
    return MadeLayer(f"conv{axes}d", options, {"weight": weight, "bias": _bias(wired, outputs)})


def _pool(wired: Wired) -> MadeLayer:
    sizes = {"kernel_size": integers(wired, "kernel_size", 2, 1), "stride": integers(wired, "stride", 2, 1)}
    padding = integers(wired, "padding", 2, 0)
    if wired.kind == "AvgPool2d":
        return MadeLayer("avg_pool2d", sizes | {"padding": padding})
    if any(padding):
        raise refuse(wired, f"padding is {padding}, and a sum over windows is padded nowhere in ours")
    return MadeLayer("sum_pool2d", sizes)


def _flatten(wired: Wired) -> MadeLayer:
    axes = {name: int(np.asarray(getattr(wired.node, name)).item()) for name in ("start_dim", "end_dim")}
    # The axes of a sample are counted there; ours count the batch, too.
    return MadeLayer("flatten", {name: axis + 1 if axis >= 0 else axis for name, axis in axes.items()})


def _scale(wired: Wired) -> MadeLayer:
    return MadeLayer("scale", {"factor": number(wired, "scale")})


def _same(_: Wired) -> MadeLayer:
    return MadeLayer("identity")


_KINDS: dict[str, Callable[[Wired], MadeLayer]] = {
    "Affine": _linear,
    "Linear": _linear,
    "Conv1d": lambda wired: _convolution(wired, 1),
    "Conv2d": lambda wired: _convolution(wired, 2),
    "AvgPool2d": _pool,
    "SumPool2d": _pool,
    "Flatten": _flatten,
    "Scale": _scale,
    "Input": _same,
    "Output": _same,
}
"""Of inner graphs, inputs and outputs hand on what they get."""
