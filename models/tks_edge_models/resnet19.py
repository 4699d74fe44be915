"""ResNet-19 with threshold-dependent batch norm.

Source: Zheng et al., "Going Deeper With Directly-Trained Larger Spiking Neural Networks", AAAI 2021; the tdBN weights
as in the TKS authors' code (arXiv 2304.06540).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from tks_edge_models.layers import TimeBatched, conv_tdbn
from tks_edge_models.network import MakeNeuron, Parts

_STAGES = ((128, 3, 1), (256, 3, 2), (512, 2, 2))
"""Width, blocks and stride of each stage."""
_JOINED = math.sqrt(0.5)
"""tdBN's alpha where two normalised branches are added, so that their sum has the variance of one."""
_HIDDEN = 256


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a neuron between them; the sum with the shortcut goes through a second neuron."""

    def __init__(self, neuron: MakeNeuron, inputs: int, outputs: int, stride: int, v_threshold: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv_tdbn(inputs, outputs, v_threshold, alpha=1.0, stride=stride),
            neuron(),
            conv_tdbn(outputs, outputs, v_threshold, alpha=_JOINED),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = conv_tdbn(inputs, outputs, v_threshold, alpha=_JOINED, kernel=1, stride=stride)
        self.neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Run one block over `[T, B, C, H, W]`."""
        spikes: Tensor = self.neuron(self.branch(x) + self.shortcut(x))
        return spikes


def resnet19(neuron: MakeNeuron, *, num_classes: int, in_channels: int, v_threshold: float) -> Parts:
    """Build ResNet-19: a 3x3 stem, eight blocks of width 128 to 512, two linear layers with a neuron between them."""
    width = _STAGES[0][0]
    stem = conv_tdbn(in_channels, width, v_threshold, alpha=_JOINED)
    body: list[nn.Module] = [neuron()]
    inputs = width
    for outputs, blocks, first_stride in _STAGES:
        for block in range(blocks):
            body.append(BasicBlock(neuron, inputs, outputs, first_stride if block == 0 else 1, v_threshold))
            inputs = outputs
    body += [
        TimeBatched(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, _HIDDEN)),
        neuron(),
        TimeBatched(nn.Linear(_HIDDEN, num_classes)),
    ]
    return Parts(stem=stem, body=nn.Sequential(*body))
