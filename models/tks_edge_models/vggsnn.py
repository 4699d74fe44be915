"""VGGSNN: eight 3x3 convolutions with average pooling between them, made for event cameras at 48x48.

Source: Deng et al., "Temporal Efficient Training of Spiking Neural Network via Gradient Re-weighting", ICLR 2022.
"""

from __future__ import annotations

from torch import nn

from tks_edge_models.errors import ModelError
from tks_edge_models.layers import TimeBatched, conv_norm
from tks_edge_models.network import MakeNeuron, Parts

_STAGES = ((64, 128), (256, 256), (512, 512), (512, 512))
"""Widths of the convolutions of each stage; a 2x2 average pooling ends a stage."""


def vggsnn(neuron: MakeNeuron, *, num_classes: int, in_channels: int, image_size: int) -> Parts:
    """Build VGGSNN for square inputs of `image_size` pixels, at least 16: each stage halves the size."""
    final = image_size >> len(_STAGES)
    if final < 1:
        raise ModelError(f"image_size is {image_size}; vggsnn halves the size four times and needs at least 16.")
    stem, *convolutions = [width for stage in _STAGES for width in stage]
    body: list[nn.Module] = [neuron()]
    inputs = stem
    for index, outputs in enumerate(convolutions, start=1):
        body += [conv_norm(inputs, outputs), neuron()]
        if index % 2:
            body.append(TimeBatched(nn.AvgPool2d(2)))
        inputs = outputs
    body.append(TimeBatched(nn.Flatten(), nn.Linear(inputs * final * final, num_classes)))
    return Parts(stem=conv_norm(in_channels, stem), body=nn.Sequential(*body))
