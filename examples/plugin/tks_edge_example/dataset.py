"""`stripes`: noisy stripes in three directions, drawn by the program, the same on every machine."""

from __future__ import annotations

import torch
from torch import Tensor

from tks_edge.data.arrays import ArrayImages, channel_statistics
from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.facts import DatasetEntry, Facts
from tks_edge.data.request import Request
from tks_edge_runtime.artifact import Preprocessing

_CLASSES = ("across", "down", "aslant")
_SIZE = 16
_SAMPLES = {"train": 192, "validation": 48, "test": 96}
_SEED = 0


def open_stripes(request: Request) -> Dataset:
    """Draw `stripes`: uint8 `[1, 16, 16]`, three classes, with splits that never change.

    Args:
        request: what was asked for; a set that is read from disk finds its folder in `request.root`.
    """
    pixels, labels = _drawn(sum(_SAMPLES.values()))
    images = ArrayImages(pixels, "stripes")
    ends = torch.tensor(list(_SAMPLES.values())).cumsum(0).tolist()
    train, validation, test = (
        Split(images, labels, range(end - size, end)) for end, size in zip(ends, _SAMPLES.values(), strict=True)
    )
    mean, std = channel_statistics(pixels, train.indices)
    return Dataset(
        name=request.name,
        root=None,
        train=train,
        validation=validation,
        test=test,
        classes=_CLASSES,
        in_channels=1,
        image_size=_SIZE,
        mean=mean,
        std=std,
        preprocessing=Preprocessing(mode="L", resize=None, crop=(_SIZE, _SIZE)),
        split_seed=_SEED,
    )


def _drawn(count: int) -> tuple[Tensor, list[int]]:
    """Pixels, uint8 `[N, 1, 16, 16]`, and the class of each image."""
    random = torch.Generator().manual_seed(_SEED)
    labels = torch.arange(count) % len(_CLASSES)
    y, x = torch.meshgrid(torch.arange(_SIZE), torch.arange(_SIZE), indexing="ij")
    along = torch.stack([y, x, x + y])[labels]
    phase = torch.randint(4, (count, 1, 1), generator=random)
    stripes = 160 * ((along + phase) // 2 % 2) + torch.randint(96, along.shape, generator=random)
    return stripes.to(torch.uint8).unsqueeze(1), labels.tolist()


STRIPES = DatasetEntry(
    Facts(image_size=_SIZE, embedded=True),
    open_stripes,
    settings={"model": "tiny", "augment": "none", "epochs": 4, "batch_size": 32, "lr": 0.01, "threads": 1},
)
"""What is known of it before it is drawn, and what a training on it starts from, as `[settings]` of a recipe."""
