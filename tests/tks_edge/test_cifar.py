"""CIFAR from files in the sets' own format."""

from __future__ import annotations

import hashlib
import pickle  # noqa: TID251 - CIFAR is published as pickles, and the test writes its format
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.data.dataset import Dataset, Transform
from tks_edge.data.loading import training_batches
from tks_edge.data.registry import describe, open_dataset, reopen
from tks_edge_runtime.errors import MissingError


def augmentation(dataset: Dataset) -> Transform:
    return AUGMENTATIONS["small-images"](dataset.image_size, dataset.mean)


def write_cifar(root: Path, source: Any, monkeypatch: pytest.MonkeyPatch, per_class: int) -> None:
    """Write small files in the published format, and tell torchvision their MD5 sums in place of the published ones."""
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    fine = source is CIFAR100
    names = [f"class {i}" for i in range(100 if fine else 10)]
    random = np.random.default_rng(0)

    def dump(file: str, content: dict[str, Any]) -> str:
        data = pickle.dumps(content)
        (folder / file).write_bytes(data)
        return hashlib.md5(data).hexdigest()  # noqa: S324 - torchvision compares MD5 sums

    def batch(file: str, copies: int) -> list[str]:
        labels = [label for label in range(len(names)) for _ in range(copies)]
        data = random.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        data[:, 0] = labels
        return [file, dump(file, {"data": data, "fine_labels" if fine else "labels": labels})]

    train = [batch(file, per_class) for file, _ in source.train_list]
    test = [batch(file, 1) for file, _ in source.test_list]
    key = "fine_label_names" if fine else "label_names"
    meta = source.meta | {"md5": dump(source.meta["filename"], {key: names})}
    monkeypatch.setattr(source, "train_list", train)
    monkeypatch.setattr(source, "test_list", test)
    monkeypatch.setattr(source, "meta", meta)


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
