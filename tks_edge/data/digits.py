"""`digits`: 1,797 real handwritten digits, embedded in scikit-learn, brought from 8x8 to 16x16 pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tks_edge.data.arrays import ArrayImages, channel_statistics
from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.request import Request
from tks_edge.data.splits import SPLIT_SEED, stratified
from tks_edge.data.uci_digits import uci_digits
from tks_edge_runtime.artifact import Preprocessing

_SIZE = 16
_SIZES = (1000, 200, 597)
"""Samples to train on, to validate with and to test on."""
_INK = 16.0
"""The largest value of an original pixel."""


def open_digits(_request: Request | None = None) -> Dataset:
    """Open `digits`: uint8 `[1, 16, 16]`, light ink on black, ten classes; there is nothing to ask for."""
    originals, labels = uci_digits()
    pixels = _enlarged(torch.from_numpy(originals))
    images = ArrayImages(pixels, "digits")
    parts = stratified([images.name(index) for index in range(len(images))], labels, _SIZES)
    train, validation, test = (Split(images, labels, part) for part in parts)
    mean, std = channel_statistics(pixels, parts[0])
    return Dataset(
        name="digits",
        root=None,
        train=train,
        validation=validation,
        test=test,
        classes=tuple(str(digit) for digit in range(10)),
        in_channels=1,
        image_size=_SIZE,
        mean=mean,
        std=std,
        preprocessing=Preprocessing(mode="L", resize=None, crop=(_SIZE, _SIZE)),
        split_seed=SPLIT_SEED,
    )


def _enlarged(originals: Tensor) -> Tensor:
    """`[N, 8, 8]` of 0..16 to uint8 `[N, 1, 16, 16]`, bilinear.

    Every value on the way is a multiple of 1/256 below 2^8, exact in float32: the same pixels on every machine.
    """
    scaled = originals.float().unsqueeze(1) * (255.0 / _INK)
    enlarged = functional.interpolate(scaled, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False)
    return enlarged.round().to(torch.uint8)
