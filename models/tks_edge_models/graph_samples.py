"""A network that is described as a graph, made to take the samples of a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from tks_edge_models.errors import ModelError
from tks_edge_models.graph import INPUT, Graph, Node, graph_network, own_path
from tks_edge_models.network import Network

_RESHAPE = "samples"


def graph_weights(network: Network) -> dict[str, Tensor]:
    """The weights of a graph's network, by the path of the node's module and their name in it."""
    named = ((own_path(name), tensor) for name, tensor in network.state_dict().items())
    return {own: tensor for own, tensor in named if own is not None}


def load_graph_weights(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """Put what `graph_weights` gives into a network of the same nodes, and leave it evaluating."""
    state = network.state_dict()
    for name in state:
        own = own_path(name)
        if own is not None:
            state[name] = weights[own]
    network.load_state_dict(state)
    return network.eval()


def for_samples(
    network: Network,
    sample_shape: Sequence[int],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Network:
    """A graph's network, with the same weights, that takes raw samples of a data set.

    Args:
        network: of a graph, which takes its input as it is.
        sample_shape: of one sample at one timestep, `[C, H, W]`. A network that takes as many numbers as a vector gets
            them flattened.
        mean: per channel, in units of the full pixel range (0..1); None where samples are taken as they are.
        std: likewise.

    Raises:
        ModelError: the network takes other numbers of values.
    """
    graph, wanted = Graph.from_json(network.spec["graph"]), network.input_shape
    if wanted != tuple(sample_shape):
        if wanted != (math.prod(sample_shape),):
            raise ModelError(
                f"the network takes inputs {list(wanted)}, and a sample of the data is {list(sample_shape)}."
            )
        graph = _reshaped(graph, wanted)
    made = graph_network(
        graph, sample_shape, network.spec["num_classes"], neuron=network.spec["neuron"], mean=mean, std=std
    )
    return load_graph_weights(made, graph_weights(network))


def _reshaped(graph: Graph, shape: Sequence[int]) -> Graph:
    """The graph with its input reshaped first."""
    name, taken = _RESHAPE, {node.name for node in graph.nodes} | {node.path for node in graph.nodes}
    while name in taken:
        name += "_"
    first = Node(name, "reshape", (INPUT,), {"shape": list(shape)})
    others = [
        replace(node, inputs=tuple(name if each == INPUT else each for each in node.inputs)) for node in graph.nodes
    ]
    return Graph((first, *others), graph.output)
