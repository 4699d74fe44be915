"""Data sets that fit into memory as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor


class ArrayImages:
    """Images in one uint8 tensor `[N, C, H, W]`; `part` tells apart arrays of one data set ("train")."""

    def __init__(self, pixels: Tensor, part: str) -> None:
        self._pixels = pixels
        self._part = part

    def __len__(self) -> int:
        return len(self._pixels)

    def original(self, index: int) -> Tensor:
        """Image `index`, uint8 `[C, H, W]`."""
        return self._pixels[index]

    def prepared(self, index: int) -> Tensor:
        """Image `index`: it is stored as it is evaluated."""
        return self._pixels[index]

    def name(self, index: int) -> str:
        """The part and the position, such as `train/17`."""
        return f"{self._part}/{index}"


def channel_statistics(pixels: Tensor, indices: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over these images, in units of the full pixel range (0..1).

    They are exact (counts of the 256 values), then rounded to four places.
    """
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in pixels[list(indices)].numpy().swapaxes(0, 1):
        share = np.bincount(channel.ravel(), minlength=256) / channel.size
        mean = float(share @ values)
        means.append(round(mean, 4))
        deviations.append(round(float(np.sqrt(share @ (values - mean) ** 2)), 4))
    return tuple(means), tuple(deviations)
