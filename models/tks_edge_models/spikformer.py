"""Spikformer-4-384: a convolutional patch splitting, then four blocks of spiking self-attention and perceptron.

Source: Zhou et al., "Spikformer: When Spiking Neural Network Meets Transformer", ICLR 2023; the CIFAR network of the
authors' code, with its twelve heads. Left out are the layer norms that their blocks hold and never call. The ImageNet
stem is that of their larger networks. `tks_edge_models.transformer` says what is adapted in the neurons.
"""

from __future__ import annotations

from torch import nn

from tks_edge_models.errors import ModelError
from tks_edge_models.layers import TimeBatched, classifier, conv_norm
from tks_edge_models.network import Parts
from tks_edge_models.transformer import Neurons, Residual, SelfAttention, perceptron

_WIDTH, _BLOCKS, _HEADS = 384, 4, 12
_SPLITTING = (_WIDTH // 8, _WIDTH // 4, _WIDTH // 2, _WIDTH)
"""Widths of the 3x3 convolutions that make patches of pixels."""
_HALVINGS = 2
"""How many of the last of them a max-pooling of stride 2 follows; all four with the ImageNet stem."""


def spikformer(neurons: Neurons, *, num_classes: int, in_channels: int, image_size: int, imagenet_stem: bool) -> Parts:
    """Build Spikformer for square images whose size is a multiple of 4, or of 16 with the ImageNet stem.

    Each convolution of the patch splitting is followed by norm, neuron and then, where the size is halved, a 3x3
    max-pooling: of spikes, whose largest is a spike. A last convolution adds the position to what they give.
    """
    halvings = len(_SPLITTING) if imagenet_stem else _HALVINGS
    if image_size % (1 << halvings):
        raise ModelError(
            f"image_size is {image_size}; spikformer halves the size {halvings} times and needs a multiple of "
            f"{1 << halvings}."
        )
    body: list[nn.Module] = []
    inputs = in_channels
    for index, width in enumerate(_SPLITTING):
        body += [conv_norm(inputs, width), neurons.usual()]
        if index >= len(_SPLITTING) - halvings:
            body.append(TimeBatched(nn.MaxPool2d(3, stride=2, padding=1)))
        inputs = width
    stem = body.pop(0)
    body.append(Residual(conv_norm(_WIDTH, _WIDTH), neurons.usual()))
    for _ in range(_BLOCKS):
        body.append(Residual(SelfAttention(neurons, _WIDTH, _HEADS, bias=True)))
        body.append(Residual(perceptron(neurons.usual, _WIDTH)))
    body.append(classifier(_WIDTH, num_classes))
    return Parts(stem=stem, body=nn.Sequential(*body))
