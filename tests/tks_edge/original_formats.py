"""Small data sets in the files that the real ones are published in; the first pixel of an image tells its class."""

from __future__ import annotations

import hashlib
import pickle  # noqa: TID251 - CIFAR is published as pickles, and the test writes its format
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100

from tests.tks_edge.test_event_sets import write_caltech as write_ncaltech101
from tests.tks_edge.test_event_sets import write_cifar as write_dvs_cifar10
from tests.tks_edge.test_event_sets import write_folder as write_recordings
from tks_edge.data import dvs_cifar10, ncaltech101

WNIDS = ("n01440764", "n01443537", "n01484850")
WORDS = ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark")
BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")
BREEDS = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02085936-Maltese_dog")
CARS = ("AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012")
RED = (40, 120, 200)
"""The red of the images of each class."""
TRAIN, TEST = 10, 3
"""Images of each class."""


def write_image(path: Path, label: int, green: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (44, 36), (RED[label], green, 0)).save(path, format="JPEG")


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


def write_imagenet(root: Path, *, raw: bool = False, devkit: str | None = "archive") -> None:
    """train/ and val/ by WordNet ID; with `raw`, val/ as its archive holds it."""
    for label, wnid in enumerate(WNIDS):
        for i in range(TRAIN):
            write_image(root / f"train/{wnid}/{wnid}_{i}.JPEG", label, i)
    # The devkit numbers the classes in an order of its own: here from the last to the first.
    numbers = [1 + position % len(WNIDS) for position in range(TEST * len(WNIDS))]
    for position, number in enumerate(numbers, start=1):
        label = len(WNIDS) - number
        folder = root / "val" if raw else root / "val" / WNIDS[label]
        write_image(folder / f"ILSVRC2012_val_{position:08}.JPEG", label)
    if devkit is not None:
        write_devkit(root, numbers, archive=devkit == "archive")


def write_devkit(root: Path, numbers: Sequence[int], *, archive: bool) -> None:
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
    entries = [
        (number, wnid, words, "a fish", 0, np.zeros(0), 0)
        for number, (wnid, words) in enumerate(reversed(list(zip(WNIDS, WORDS, strict=True))), start=1)
    ]
    entries.append((len(entries) + 1, "n02512053", "fish", "its parts", 3, np.array([1, 2, 3]), 1))
    synsets = np.zeros((len(entries), 1), dtype=[(field, object) for field in fields])
    for row, entry in zip(synsets, entries, strict=True):
        row[0] = entry
    folder = root / "ILSVRC2012_devkit_t12"
    (folder / "data").mkdir(parents=True)
    savemat(folder / "data/meta.mat", {"synsets": synsets})
    (folder / "data/ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{n}\n" for n in numbers))
    if archive:
        with tarfile.open(root / f"{folder.name}.tar.gz", "w:gz") as opened:
            opened.add(folder, folder.name)
        for file in (folder / "data").iterdir():
            file.unlink()
        (folder / "data").rmdir()
        folder.rmdir()


def write_cub(root: Path) -> None:
    base = root / "CUB_200_2011"
    images: list[str] = []
    labels: list[str] = []
    official: list[str] = []
    for label, bird in enumerate(BIRDS):
        for i in range(TRAIN + TEST):
            name = f"{bird}/{bird[4:]}_{i:04}_{label}.jpg"
            write_image(base / "images" / name, label, i)
            number = len(images) + 1
            images.append(f"{number} {name}")
            labels.append(f"{number} {label + 1}")
            official.append(f"{number} {int(i < TRAIN)}")
    lists = {
        "images.txt": images,
        "image_class_labels.txt": labels,
        "train_test_split.txt": official,
        "classes.txt": [f"{label + 1} {bird}" for label, bird in enumerate(BIRDS)],
    }
    for file, lines in lists.items():
        (base / file).write_text("".join(f"{line}\n" for line in lines))


def write_dogs(root: Path, lists: str = "") -> None:
    base = root / "stanford_dogs"
    (base / lists).mkdir(parents=True)
    for part, numbers in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
        names, labels = [], []
        for label, breed in enumerate(BREEDS):
            for i in numbers:
                names.append(f"{breed}/{breed[:9]}_{i}.jpg")
                labels.append(label + 1)
                write_image(base / "Images" / names[-1], label, i)
        column = np.array(names, dtype=object).reshape(-1, 1)
        savemat(
            base / lists / f"{part}_list.mat",
            {
                "file_list": column,
                "annotation_list": column,
                "labels": np.array(labels, dtype=np.uint8).reshape(-1, 1),
            },
        )


def write_cars(root: Path, test_list: str = "cars_test_annos_withlabels.mat") -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit/cars_meta.mat", {"class_names": np.array(CARS, dtype=object).reshape(1, -1)})
    for file, folder, count in (("devkit/cars_train_annos.mat", "cars_train", TRAIN), (test_list, "cars_test", TEST)):
        fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
        annotations = np.zeros((1, count * len(CARS)), dtype=[(field, object) for field in fields])
        for i in range(annotations.size):
            label, name = i % len(CARS), f"{i + 1:05}.jpg"
            annotations[0, i] = (1, 1, 44, 36, label + 1, name)
            write_image(base / folder / name, label, i)
        savemat(base / file, {"annotations": annotations})


def write_folder(root: Path) -> None:
    for label in range(3):
        for i in range(TRAIN + TEST):
            write_image(root / f"class {label}" / f"{i}.jpg", label, i)


FINE_GRAINED: dict[str, Callable[[Path], None]] = {
    "cub200": write_cub,
    "stanford-dogs": write_dogs,
    "stanford-cars": write_cars,
}
WRITERS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "digits": lambda _root, _patch: None,
    "cifar10": lambda root, patch: write_cifar(root, CIFAR10, patch, 4),
    "cifar100": lambda root, patch: write_cifar(root, CIFAR100, patch, 2),
    "imagenet": lambda root, _: write_imagenet(root),
    "cub200": lambda root, _: write_cub(root),
    "stanford-dogs": lambda root, _: write_dogs(root),
    "stanford-cars": lambda root, _: write_cars(root),
    "folder": lambda root, _: write_folder(root),
}
"""For each recipe of still images, what writes its data set."""


def _write_dvs_cifar10(root: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dvs_cifar10, "_EACH", 5)
    write_dvs_cifar10(root, each=5)


def _write_ncaltech101(root: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ncaltech101, "_RECORDINGS", 30)
    patch.setattr(ncaltech101, "_CLASSES", 3)
    write_ncaltech101(root, each=10)


RECORDING_WRITERS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "dvs-cifar10": _write_dvs_cifar10,
    "ncaltech101": _write_ncaltech101,
    "event-folder": lambda root, _: write_recordings(root),
    "digits-dvs": lambda _root, _patch: None,
}
"""The same for each recipe of recordings."""
