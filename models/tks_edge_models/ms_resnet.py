"""MS-ResNet: residual blocks whose shortcut carries membrane currents, with a neuron before each convolution.

Source: Hu et al., "Advancing Spiking Neural Networks Toward Deep Residual Learning", IEEE TNNLS 2024 (arXiv
2112.08954), and the authors' published networks for ImageNet: their first stage halves the size instead of a
max-pooling, the shortcuts between stages are 1x1 convolutions of currents, and each branch ends in a norm that starts
at 0. The stem for small images is ours. Adapted: the neuron is the one that all our networks have; theirs is
`LIFParameters(tau=4 / 3, v_threshold=0.5, decay_input=False)`.
"""

from __future__ import annotations

from torch import Tensor, nn

from tks_edge_models.layers import classifier, conv_tdbn
from tks_edge_models.network import MakeNeuron, Parts

_WIDTHS = (64, 128, 256, 512)


class MSBlock(nn.Module):
    """Neuron, 3x3 convolution and norm, twice; their current is added to that of the shortcut."""

    def __init__(self, neuron: MakeNeuron, inputs: int, outputs: int, stride: int, v_threshold: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            neuron(),
            conv_tdbn(inputs, outputs, v_threshold, stride=stride),
            neuron(),
            # Every block starts as its shortcut alone.
            conv_tdbn(outputs, outputs, v_threshold, alpha=0.0),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = conv_tdbn(inputs, outputs, v_threshold, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Run one block over currents `[T, B, C, H, W]`."""
        current: Tensor = self.branch(x) + self.shortcut(x)
        return current


def ms_resnet(
    neuron: MakeNeuron,
    blocks: tuple[int, ...],
    *,
    num_classes: int,
    in_channels: int,
    imagenet_stem: bool,
    v_threshold: float,
) -> Parts:
    """Build an MS-ResNet with `blocks` blocks a stage.

    The ImageNet stem is a 7x7 convolution of stride 2, and the first stage has stride 2 too; for small images it is one
    3x3 convolution, and the first stage keeps the size.
    """
    kernel, stride = (7, 2) if imagenet_stem else (3, 1)
    stem = conv_tdbn(in_channels, _WIDTHS[0], v_threshold, kernel=kernel, stride=stride)
    body: list[nn.Module] = []
    inputs = _WIDTHS[0]
    for stage, (width, count) in enumerate(zip(_WIDTHS, blocks, strict=True)):
        first_stride = 2 if stage > 0 or imagenet_stem else 1
        for block in range(count):
            body.append(MSBlock(neuron, inputs, width, first_stride if block == 0 else 1, v_threshold))
            inputs = width
    body += [neuron(), classifier(inputs, num_classes)]
    return Parts(stem=stem, body=nn.Sequential(*body))
