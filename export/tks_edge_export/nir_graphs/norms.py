"""Batch norm into the convolution or linear layer before it: NIR has no node for it.

g ((W x + b) - mean) / sqrt(var + eps) + beta   =   (s W) x + (s (b - mean) + beta),     s = g / sqrt(var + eps)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_models.graph import Graph, Node

_NORMS = frozenset({"batch_norm1d", "batch_norm2d"})
_LAYERS = frozenset({"linear", "conv1d", "conv2d"})


@dataclass(frozen=True)
class Folded:
    """A graph without batch norm, its weights, and how many norms went into layers."""

    graph: Graph
    weights: dict[str, Tensor]
    norms: int


def fold(graph: Graph, weights: Mapping[str, Tensor]) -> Folded:
    """Fold every batch norm of a graph.

    Args:
        graph: of one timestep.
        weights: by the path of the node's module and their name in it.

    Raises:
        NirError: there is no layer that a norm can go into; names the norm.
    """
    nodes = {node.name: node for node in graph.nodes}
    found, values = dict(weights), {}
    norms = [node for node in graph.nodes if node.operator in _NORMS]
    for norm in norms:
        before = nodes.get(norm.inputs[0])
        readers = [node for node in graph.nodes if norm.inputs[0] in node.inputs]
        sharing = [node for node in graph.nodes if before is not None and node.path == before.path]
        if before is None or before.operator not in _LAYERS or len(readers) > 1 or len(sharing) > 1:
            raise NirError(
                f"the node {norm.name!r} ({norm.operator}) comes after {norm.inputs[0]!r}; NIR has no batch norm, and "
                "it can only be folded into a convolution or linear layer that nothing else reads."
            )
        found |= _scaled(before, norm, found)
        nodes[before.name] = replace(before, options={**before.options, "bias": True})
        values[norm.name] = before.name
    kept = [
        replace(nodes[node.name], inputs=tuple(values.get(name, name) for name in node.inputs))
        for node in graph.nodes
        if node not in norms
    ]
    return Folded(Graph(tuple(kept), values.get(graph.output, graph.output)), found, len(norms))


def _scaled(layer: Node, norm: Node, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weight = weights[f"{layer.path}.weight"].double()
    mean, variance = (weights[f"{norm.path}.running_{name}"].double() for name in ("mean", "var"))
    nothing = torch.zeros(len(weight), dtype=torch.float64)
    gain = weights.get(f"{norm.path}.weight", nothing + 1.0).double()
    shift = weights.get(f"{norm.path}.bias", nothing).double()
    bias = weights.get(f"{layer.path}.bias", nothing).double()
    scale = gain / torch.sqrt(variance + norm.options.get("eps", 1e-5))
    return {
        f"{layer.path}.weight": (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).float(),
        f"{layer.path}.bias": (scale * (bias - mean) + shift).float(),
    }
