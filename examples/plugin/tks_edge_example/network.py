"""`fork`: a network of tks-edge's own layers, with two branches over the same spikes."""

from __future__ import annotations

from torch import Tensor, nn

from tks_edge_models.layers import classifier, conv_norm
from tks_edge_models.network import MakeNeuron, Parts
from tks_edge_models.registry import Request


class Fork(nn.Module):
    """Two branches over the same input `[T, B, C, H, W]`, joined by the mean of what they give."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left = left
        self.right = right

    def forward(self, x: Tensor) -> Tensor:
        """The mean of both branches."""
        joined: Tensor = (self.left(x) + self.right(x)) / 2.0
        return joined


def fork(neuron: MakeNeuron, request: Request) -> Parts:
    """Build `fork`: a convolution, then one of 3x3 and one of 5x5 side by side, at half the size.

    Args:
        neuron: makes a LIF layer, or a ReLU for the twin; called once for each place.
        request: what the network is for.

    Returns:
        `stem`, up to the first neuron and without a state, which runs once on a still image; and `body`, from that
        neuron to the logits `[T, B, K]`.
    """
    body = nn.Sequential(
        neuron(),
        Fork(conv_norm(8, 16, stride=2), conv_norm(8, 16, kernel=5, stride=2)),
        neuron(),
        classifier(16, request.num_classes),
    )
    return Parts(stem=conv_norm(request.in_channels, 8), body=body)
