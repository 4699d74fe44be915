"""QKFormer HST-4-384: a hierarchy of three stages, Q-K token attention in the first two, self-attention in the last.

Source: Zhou et al., "QKFormer: Hierarchical Spiking Transformer using Q-K Attention", NeurIPS 2024; the CIFAR network
of the authors' code. The ImageNet stem is the first embedding of their larger networks. `tks_edge_models.transformer`
says what is adapted in the neurons.
"""

from __future__ import annotations

from torch import Tensor, nn

from tks_edge_models.errors import ModelError
from tks_edge_models.layers import TimeBatched, classifier, conv_norm
from tks_edge_models.network import MakeNeuron, Parts
from tks_edge_models.transformer import Neurons, Residual, SelfAttention, TokenAttention, perceptron

_WIDTHS = (96, 192, 384)
_BLOCKS = (1, 1, 2)
"""Of each stage: attention and perceptron."""
_HEADS = 8


class PatchEmbedding(nn.Module):
    """Convolutions that embed patches, their spikes added to those of a 1x1 shortcut.

    Args:
        neuron: what makes the neurons.
        branch: the convolutions with norm and neuron.
        inputs: channels in.
        outputs: channels out.
        stride: by which the branch makes the size smaller.
    """

    def __init__(self, neuron: MakeNeuron, branch: list[nn.Module], inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.shortcut = nn.Sequential(conv_norm(inputs, outputs, kernel=1, stride=stride), neuron())

    def forward(self, x: Tensor) -> Tensor:
        """Embed `[T, B, C, H, W]`; a sum of spikes is a small integer."""
        joined: Tensor = self.branch(x) + self.shortcut(x)
        return joined


def _embedding(neuron: MakeNeuron, inputs: int, outputs: int, halved: tuple[bool, ...]) -> PatchEmbedding:
    """3x3 convolutions, each with norm, where `halved` a max-pooling of currents, and neuron."""
    branch: list[nn.Module] = []
    channels = inputs
    for halves in halved:
        branch += [_conv_norm(channels, outputs, halves=halves), neuron()]
        channels = outputs
    return PatchEmbedding(neuron, branch, inputs, outputs, stride=2 if any(halved) else 1)


def _conv_norm(inputs: int, outputs: int, *, halves: bool) -> TimeBatched:
    layer = conv_norm(inputs, outputs)
    return layer.append(nn.MaxPool2d(3, stride=2, padding=1)) if halves else layer


def qkformer(neurons: Neurons, *, num_classes: int, in_channels: int, image_size: int, imagenet_stem: bool) -> Parts:
    """Build QKFormer for square images whose size is a multiple of 4, or of 16 with the ImageNet stem.

    Each later stage halves the size and doubles the width. Unlike Spikformer, it pools between norm and neuron: of
    currents, of which the largest is taken as it is, so nothing is rounded. The ImageNet stem halves the size twice.
    """
    halvings = len(_WIDTHS) - 1 + (2 if imagenet_stem else 0)
    if image_size % (1 << halvings):
        raise ModelError(
            f"image_size is {image_size}; qkformer halves the size {halvings} times and needs a multiple of "
            f"{1 << halvings}."
        )
    neuron, last = neurons.usual, len(_WIDTHS) - 1
    inputs, halved = _WIDTHS[0] // 2, (True, False) if imagenet_stem else (False,)
    stem = _conv_norm(in_channels, inputs, halves=imagenet_stem)
    body: list[nn.Module] = [neuron()]
    for stage, (width, blocks) in enumerate(zip(_WIDTHS, _BLOCKS, strict=True)):
        body.append(_embedding(neuron, inputs, width, (False, True) if stage else halved))
        for _ in range(blocks):
            attention: nn.Module = TokenAttention(neurons, width, _HEADS)
            if stage == last:
                attention = SelfAttention(neurons, width, _HEADS, bias=False)
            body += [Residual(attention), Residual(perceptron(neuron, width))]
        inputs = width
    body.append(classifier(inputs, num_classes))
    return Parts(stem=stem, body=nn.Sequential(*body))
