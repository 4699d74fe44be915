"""What is read from a file against the network that it was written from, spike by spike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tks_edge_export.adoption.own import Described
from tks_edge_export.errors import VerificationError
from tks_edge_models import Network
from tks_edge_models.graph import graph_network, own_path
from tks_edge_models.graph_samples import load_graph_weights
from tks_edge_models.stepping import spikes_of

_ROUNDED = 1e-3
"""The share of spikes that may differ where a batch norm was folded, or a mean is taken in another order: a current
then differs in its last digits, and a neuron whose membrane is that close to the threshold may decide otherwise."""


@dataclass(frozen=True)
class SpikeAgreement:
    """How many spikes were compared, and how many of them differ."""

    spikes: int
    differing: int


def compare(network: Network, plain: Described, read: Network, frames: Tensor, *, is_folded: bool) -> SpikeAgreement:
    """Compare a network with what was read from its file.

    Args:
        network: the network.
        plain: the same as a graph, nothing folded.
        read: from the file.
        frames: raw samples `[T, B, ...]`.
        is_folded: whether batch norm went into layers.

    Raises:
        VerificationError: they fire other spikes.
    """
    with torch.no_grad():
        logits, shown = network(frames), network.normalize(frames)
        graph = load_graph_weights(
            graph_network(plain.graph, network.input_shape, network.spec["num_classes"]), plain.weights
        )
        if not torch.allclose(graph(shown), logits, rtol=1e-4, atol=1e-5):
            raise VerificationError("the network as a graph gives other logits than the network. This is a fault.")
        ours, theirs = (_by_node(spikes_of(each, shown)) for each in (graph, read))
    spikes = differing = 0
    for name, expected in ours.items():
        got = theirs.get(name)
        if got is None or got.shape != expected.shape:
            raise VerificationError(f"the neuron {name!r} is not in the file as it is in the network.")
        spikes += expected.numel()
        differing += int((got != expected).sum())
    if differing > (_ROUNDED * spikes if is_folded or _averages(plain) else 0):
        raise VerificationError(
            f"the file, read again, fires {differing:,} of {spikes:,} spikes otherwise than the network. Report it."
        )
    return SpikeAgreement(spikes, differing)


def _averages(plain: Described) -> bool:
    return any(node.operator in ("adaptive_avg_pool2d", "mean", "divide") for node in plain.graph.nodes)


def _by_node(spikes: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: found for path, found in spikes.items() if (name := own_path(path)) is not None}
