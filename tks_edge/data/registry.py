"""Data sets by name: `open_dataset("digits")`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import NoneType
from typing import Any

from tks_edge.data.cifar import open_cifar
from tks_edge.data.dataset import Dataset
from tks_edge.data.digits import open_digits
from tks_edge.data.folder import open_folder
from tks_edge.settings import DATASETS
from tks_edge_runtime.errors import InputError, unknown

_DEFAULT_ROOT = Path("data")
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "root": (str, NoneType),
    "image_size": int,
    "classes": list,
    "splits": dict,
}
"""What `reopen` reads of a record."""


def open_dataset(
    name: str, root: Path | str | None = None, *, image_size: int | None = None, download: bool = False
) -> Dataset:
    """Open a data set with its fixed splits.

    Args:
        name: one of `settings.DATASETS`.
        root: the folder that holds it; `data` for CIFAR when not given, and none for an embedded set.
        image_size: height and width to bring the images of a folder to, in pixels; 32 when not given.
        download: fetch CIFAR when it is not there.

    Raises:
        InputError: an unknown name, an option that the set does not have, or a folder that is no data set.
        MissingError: CIFAR is not there.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    if download and not name.startswith("cifar"):
        raise InputError(f"--download fetches cifar10 and cifar100; {name} has nothing to download. Leave it out.")
    if image_size is not None and name != "folder":
        raise InputError(f"the images of {name} have a size of their own. Leave the image size out.")
    if name == "digits":
        if root is not None:
            raise InputError(f"digits is embedded and is read from no folder, got {root}. Leave --data out.")
        return open_digits()
    if name == "folder":
        if root is None:
            raise InputError("--dataset folder needs --data, a folder that holds one folder of images for each class.")
        return open_folder(Path(root), image_size=image_size if image_size is not None else 32)
    return open_cifar(name, Path(root) if root is not None else _DEFAULT_ROOT, download=download)


def describe(dataset: Dataset) -> dict[str, Any]:
    """The record of a data set that a run keeps, JSON-able: enough to open it again and to see that it is the same."""
    return {
        "name": dataset.name,
        "root": dataset.root,
        "classes": list(dataset.classes),
        "in_channels": dataset.in_channels,
        "image_size": dataset.image_size,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "preprocessing": dataclasses.asdict(dataset.preprocessing) | {"crop": list(dataset.preprocessing.crop)},
        "splits": {"seed": dataset.split_seed} | {name: split.record() for name, split in dataset.splits().items()},
    }


def check_record(record: dict[str, Any]) -> None:
    """Raise TypeError where `record` lacks something of what `describe` gives and `reopen` needs."""
    for name, kind in _NEEDED.items():
        if name not in record or not isinstance(record[name], kind):
            raise TypeError(f"dataset.{name} is missing or of another type")


def reopen(record: dict[str, Any], root: Path | str | None = None, *, download: bool = False) -> Dataset:
    """Open the data set that `describe` recorded.

    Args:
        record: what `describe` gave.
        root: where the data lies now, if it was moved.
        download: fetch CIFAR when it is not there.

    Raises:
        InputError: it is not the same data any more.
        MissingError: it is not there.
    """
    name = record["name"]
    image_size = record["image_size"] if name == "folder" else None
    dataset = open_dataset(name, root if root is not None else record["root"], image_size=image_size, download=download)
    found = describe(dataset)
    changed = [part for part in ("classes", "splits") if found[part] != record[part]]
    if changed:
        where = f" at {dataset.root}" if dataset.root else ""
        advice = "Give the folder it was trained on with --data." if dataset.root else "Train again with this version."
        raise InputError(
            f"the data set {name}{where} is not the one of this run: its {' and '.join(changed)} differ. {advice}"
        )
    return dataset
