"""Layers over sequences `[T, B, ...]`: stateless ones run with T merged into the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tks_edge_models.errors import ModelError


class TimeBatched(nn.Sequential):
    """Stateless modules in a row, run once on `[T * B, ...]` instead of T times: `[T, B, ...]` in and out."""

    def forward(self, x: Tensor) -> Tensor:
        """Run the modules on all timesteps at once."""
        merged: Tensor = x.flatten(0, 1)
        for module in self:
            merged = module(merged)
        return merged.reshape(*x.shape[:2], *merged.shape[1:])


class PixelNormalize(nn.Module):
    """Raw pixels (uint8, or float in 0..255) to `(pixel / 255 - mean) / std` per channel, in float32.

    It is part of the network so that whoever runs it, on a host or on a board, feeds it what a camera gives.

    Args:
        mean: per channel, in units of the full range (0..1).
        std: per channel, likewise; above 0.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(s > 0 for s in std):
            raise ModelError(f"mean {list(mean)} and std {list(std)} need one entry a channel each, std above 0.")
        column = (-1, 1, 1)
        deviation = torch.tensor(std, dtype=torch.float64)
        shift = -torch.tensor(mean, dtype=torch.float64) / deviation
        # Not part of the weights: they are given by the construction options, which travel with every checkpoint.
        self.register_buffer("scale", (1.0 / (255.0 * deviation)).float().reshape(column), persistent=False)
        self.register_buffer("shift", shift.float().reshape(column), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise pixels whose last three axes are channel, height and width."""
        return pixels.float() * self.scale + self.shift


def hold(x: Tensor, timesteps: int) -> Tensor:
    """Direct encoding: `[1, B, ...]`, the same at every step, as `[T, B, ...]`, without a copy."""
    return x.expand(timesteps, *x.shape[1:])


class ThresholdBatchNorm2d(nn.BatchNorm2d):
    """Threshold-dependent batch norm, tdBN: over time and batch, its weight starting at `alpha * v_threshold`.

    Source: Zheng et al., "Going Deeper With Directly-Trained Larger Spiking Neural Networks", AAAI 2021, eq. 7.
    """

    def __init__(self, channels: int, v_threshold: float, alpha: float = 1.0) -> None:
        super().__init__(channels)
        nn.init.constant_(self.weight, alpha * v_threshold)


def conv_norm(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, norm: nn.Module | None = None, *, bias: bool = False
) -> TimeBatched:
    """A convolution of odd `kernel` that keeps the size (over `stride`), and its batch norm, over `[T, B, C, H, W]`.

    The norm takes a `bias` out again; there is one where a published network counts it among its parameters.
    """
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)
    return TimeBatched(convolution, nn.BatchNorm2d(outputs) if norm is None else norm)


def conv_tdbn(
    inputs: int, outputs: int, v_threshold: float, alpha: float = 1.0, kernel: int = 3, stride: int = 1
) -> TimeBatched:
    """As `conv_norm`, with threshold-dependent batch norm."""
    return conv_norm(inputs, outputs, kernel, stride, norm=ThresholdBatchNorm2d(outputs, v_threshold, alpha))


def classifier(features: int, num_classes: int) -> TimeBatched:
    """Global average pooling and a linear layer: `[T, B, features, H, W]` to logits `[T, B, num_classes]`."""
    return TimeBatched(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, num_classes))
