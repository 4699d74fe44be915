"""CIFAR from files in the sets' own format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from tests.tks_edge.original_formats import write_cifar
from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.data.dataset import Dataset, Transform
from tks_edge.data.loading import training_batches
from tks_edge.data.registry import describe, open_dataset, reopen
from tks_edge_runtime.errors import MissingError


def augmentation(dataset: Dataset) -> Transform:
    return AUGMENTATIONS["small-images"](dataset.image_size, dataset.mean)


@pytest.mark.parametrize(
    ("name", "source", "classes", "per_class"), [("cifar10", CIFAR10, 10, 4), ("cifar100", CIFAR100, 100, 10)]
)
def test_cifar(
    name: str, source: Any, classes: int, per_class: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path, source, monkeypatch, per_class)
    dataset = open_dataset(name, tmp_path)
    total = classes * per_class * len(source.train_list)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (total * 9 // 10, total // 10, classes)
    assert set(Counter(dataset.validation.labels).values()) == {total // 10 // classes}
    assert not set(dataset.train.indices) & set(dataset.validation.indices)
    assert (len(dataset.classes), dataset.in_channels, dataset.image_size) == (classes, 3, 32)
    for split in dataset.splits().values():
        image, label = split[3]
        # The first byte of each image is its label: it is the red value of the first pixel.
        assert (image.dtype, tuple(image.shape), int(image[0, 0, 0])) == (torch.uint8, (3, 32, 32), label)
    (images, labels), *_ = training_batches(dataset.train, augmentation(dataset), seed=0, batch_size=8, epochs=1)
    assert (tuple(images.shape), images.dtype, labels.dtype) == ((8, 3, 32, 32), torch.uint8, torch.int64)
    assert describe(reopen(describe(dataset))) == describe(dataset)


def test_missing_cifar_names_the_files_and_the_flag(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as error:
        open_dataset("cifar10", tmp_path)
    assert "cifar-10-batches-py" in str(error.value)
    assert "--download" in str(error.value)
    assert error.value.exit_code == 3


def test_a_changed_cifar_file_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, CIFAR10, monkeypatch, 4)
    victim = tmp_path / CIFAR10.base_folder / "data_batch_3"
    victim.write_bytes(victim.read_bytes()[:-7])
    with pytest.raises(MissingError, match="published files"):
        open_dataset("cifar10", tmp_path)
