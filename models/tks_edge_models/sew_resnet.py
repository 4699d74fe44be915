"""SEW-ResNet: residual blocks whose branches both end in spikes, joined by element-wise addition.

Source: Fang et al., "Deep Residual Learning in Spiking Neural Networks", NeurIPS 2021 (the ADD join, table 1).
"""

from __future__ import annotations

from torch import Tensor, nn

from tks_edge_models.layers import TimeBatched, classifier, conv_norm
from tks_edge_models.network import MakeNeuron, Parts

_WIDTHS = (64, 128, 256, 512)


_EXPANSION = 4
"""How many times wider a bottleneck's output is than its 3x3 convolution."""


class SEWBlock(nn.Module):
    """Convolutions, each followed by norm and neuron; their spikes are added to those of the shortcut.

    A basic block has two 3x3 convolutions, a bottleneck one between two of 1x1; the first 3x3 has the stride.
    """

    def __init__(self, neuron: MakeNeuron, inputs: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        outputs = _EXPANSION * width if bottleneck else width
        convolutions = [conv_norm(inputs, width, stride=stride), conv_norm(width, outputs)]
        if bottleneck:
            convolutions = [
                conv_norm(inputs, width, kernel=1),
                conv_norm(width, width, stride=stride),
                conv_norm(width, outputs, kernel=1),
            ]
        self.branch = nn.Sequential(*(layer for convolution in convolutions for layer in (convolution, neuron())))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv_norm(inputs, outputs, kernel=1, stride=stride), neuron())

    def forward(self, x: Tensor) -> Tensor:
        """Run one block over `[T, B, C, H, W]`; a sum of spikes is a small integer."""
        joined: Tensor = self.branch(x) + self.shortcut(x)
        return joined


def sew_resnet(
    neuron: MakeNeuron,
    blocks: tuple[int, ...],
    *,
    num_classes: int,
    in_channels: int,
    imagenet_stem: bool,
    bottleneck: bool = False,
) -> Parts:
    """Build a SEW-ResNet with `blocks` blocks a stage, basic ones or bottlenecks.

    The ImageNet stem is a 7x7 convolution of stride 2 and, after the first neuron, a 3x3 max-pooling of stride 2; the
    other, for small images, one 3x3 convolution.
    """
    stem = (
        conv_norm(in_channels, _WIDTHS[0], kernel=7, stride=2) if imagenet_stem else conv_norm(in_channels, _WIDTHS[0])
    )
    body: list[nn.Module] = [neuron()]
    if imagenet_stem:
        body.append(TimeBatched(nn.MaxPool2d(3, stride=2, padding=1)))
    inputs = _WIDTHS[0]
    for stage, (width, count) in enumerate(zip(_WIDTHS, blocks, strict=True)):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            body.append(SEWBlock(neuron, inputs, width, stride, bottleneck=bottleneck))
            inputs = _EXPANSION * width if bottleneck else width
    body.append(classifier(inputs, num_classes))
    return Parts(stem=stem, body=nn.Sequential(*body))
