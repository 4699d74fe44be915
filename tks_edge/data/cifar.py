"""`cifar10` and `cifar100` through torchvision.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from tks_edge.data.arrays import ArrayImages, channel_statistics
from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.request import Request
from tks_edge.data.splits import SPLIT_SEED, stratified
from tks_edge_runtime.artifact import Preprocessing
from tks_edge_runtime.errors import MissingError

_SIZE = 32
_VALIDATION_SHARE = 10
"""One training image in ten chooses the checkpoint: 5,000 of 50,000."""
_SETS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def open_cifar(request: Request) -> Dataset:
    """Open CIFAR: uint8 `[3, 32, 32]`; a tenth of the official training set validates, the official test set tests.

    The files of CIFAR are Python pickles, the only ones that are ever read: torchvision loads them after their MD5 sums
    have been compared with the published ones.

    Raises:
        MissingError: the files are not at `root`, or are not the published ones, or could not be downloaded.
    """
    name, root = request.name, request.root
    pixels, labels, classes = _read(name, root, train=True, download=request.download)
    test_pixels, test_labels, _ = _read(name, root, train=False, download=False)
    images = ArrayImages(pixels, "train")
    held_out = len(images) // _VALIDATION_SHARE
    validation, train = stratified(
        [images.name(index) for index in range(len(images))], labels, (held_out, len(images) - held_out)
    )
    mean, std = channel_statistics(pixels, train)
    return Dataset(
        name=name,
        root=str(root.resolve()),
        train=Split(images, labels, train),
        validation=Split(images, labels, validation),
        test=Split(ArrayImages(test_pixels, "test"), test_labels, range(len(test_labels))),
        classes=classes,
        in_channels=3,
        image_size=_SIZE,
        mean=mean,
        std=std,
        preprocessing=Preprocessing(mode="RGB", resize=None, crop=(_SIZE, _SIZE)),
        split_seed=SPLIT_SEED,
    )


def _read(name: str, root: Path, *, train: bool, download: bool) -> tuple[Tensor, list[int], tuple[str, ...]]:
    source: Any = _SETS[name]
    try:
        data = source(root, train=train, download=download)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise MissingError(
            f"{name} could not be downloaded ({error}). Download {source.url} and unpack it in {root}."
        ) from error
    except RuntimeError as error:
        if download:
            raise MissingError(
                f"{name} was downloaded, and is not the published file ({error}). Download {source.url} (MD5 "
                f"{source.tgz_md5}) and unpack it in {root}."
            ) from error
        raise MissingError(
            f"{root} does not hold {name}: expected {root / source.base_folder}/ with the published files. "
            f"Give its folder with --data, or add --download."
        ) from error
    pixels = torch.from_numpy(np.ascontiguousarray(np.transpose(data.data, (0, 3, 1, 2))))
    return pixels, [int(label) for label in data.targets], tuple(data.classes)
