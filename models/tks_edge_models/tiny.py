"""`tiny`: five convolutions of 16, 16, 32, 32 and 64 channels, for small images and for the demo."""

from __future__ import annotations

from torch import nn

from tks_edge_models.layers import classifier, conv_norm
from tks_edge_models.network import MakeNeuron, Parts


def tiny(neuron: MakeNeuron, *, num_classes: int, in_channels: int) -> Parts:
    """Build `tiny`: the first two convolutions at full size, the next two at half, the last at a quarter."""
    body = nn.Sequential(
        neuron(),
        conv_norm(16, 16),
        neuron(),
        conv_norm(16, 32, stride=2),
        neuron(),
        conv_norm(32, 32),
        neuron(),
        conv_norm(32, 64, stride=2),
        neuron(),
        classifier(64, num_classes),
    )
    return Parts(stem=conv_norm(in_channels, 16), body=body)
