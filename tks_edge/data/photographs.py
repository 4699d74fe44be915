"""What sets of photographs have in common: their statistics, and how a file becomes an input of a chosen size."""

from __future__ import annotations

from pathlib import Path

from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.facts import LARGE
from tks_edge.data.request import Request
from tks_edge.data.splits import SPLIT_SEED
from tks_edge_runtime.artifact import Preprocessing

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Those of ImageNet, as torchvision uses them: photographs of anything are near them."""


def preprocessing_for(image_size: int) -> Preprocessing:
    """RGB, the shorter side resized and the centre of `image_size` pixels cropped.

    Up to 127 pixels the shorter side is resized to that size; from 128 on to 256/224 of it, as is usual at ImageNet's.
    """
    resize = round(image_size * 256 / 224) if image_size >= LARGE else image_size
    return Preprocessing(mode="RGB", resize=resize, crop=(image_size, image_size))


def photographs(
    request: Request, root: Path, train: Split, validation: Split, test: Split, classes: tuple[str, ...]
) -> Dataset:
    """The data set of these splits; `root` is the folder that names of samples are relative to."""
    return Dataset(
        name=request.name,
        root=str(root.resolve()),
        train=train,
        validation=validation,
        test=test,
        classes=classes,
        in_channels=3,
        image_size=request.image_size,
        mean=_MEAN,
        std=_STD,
        preprocessing=preprocessing_for(request.image_size),
        split_seed=SPLIT_SEED,
    )
