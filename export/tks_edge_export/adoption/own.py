"""Networks of ours as graphs: those of the registry are recorded as foreign ones are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tks_edge_export.adoption import torch_layers
from tks_edge_export.adoption.layer import TIME_FIRST, Layer, of_package, refuse
from tks_edge_export.adoption.translation import translate
from tks_edge_models import LIF, Network, Neuron
from tks_edge_models.graph import NAME, Graph
from tks_edge_models.graph_operators import lif_options
from tks_edge_models.graph_samples import graph_weights

_TIMESTEPS, _BATCH = 2, 3


@dataclass(frozen=True)
class Described:
    """A network as data: the graph of what comes after the normalisation, and its weights by the path of the module."""

    graph: Graph
    weights: dict[str, Tensor]


def described(network: Network) -> Described:
    """A spiking network of ours as a graph.

    Raises:
        AdoptionError: something of it has no operator; names the module.
    """
    if network.spec["name"] == NAME:
        return Described(Graph.from_json(network.spec["graph"]), graph_weights(network))
    frames = torch.zeros(_TIMESTEPS, _BATCH, *network.input_shape)
    lowered = translate(_Sequence(network), [frames], _layer).lowered
    return Described(lowered.graph, lowered.weights)


class _Sequence(nn.Module):
    """What a network does with normalised frames `[T, B, ...]`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.stem = network.stem
        self.body = network.body

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        logits: Tensor = self.body(self.stem(x))
        return logits


def _layer(path: str, module: nn.Module) -> Layer | None:
    """Translate a layer of PyTorch, or a neuron or a norm of ours; None for a module to be looked into.

    Raises:
        AdoptionError: a neuron that has no operator.
    """
    if of_package(module, torch_layers.package):
        return torch_layers.layer(path, module)
    if isinstance(module, LIF):
        return Layer("lif", lif_options(module.params), axes=TIME_FIRST)
    if isinstance(module, Neuron):
        raise refuse(path, module, "it has no operator")
    if isinstance(module, nn.BatchNorm2d):
        return torch_layers.derived(path, module)
    return None
