"""Data sets by name: `open_dataset("digits")`."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

from tks_edge.data.dataset import Dataset
from tks_edge.data.facts import FACTS, PLUGINS, facts_of
from tks_edge.data.request import Request
from tks_edge.settings.frames import FrameSettings
from tks_edge_runtime.errors import InputError

_DEFAULT_ROOT = Path("data")
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "root": (str, NoneType),
    "image_size": int,
    "classes": list,
    "splits": dict,
}
"""What `reopen` reads of a record."""


def _of(module: str, function: str) -> Callable[[Request], Dataset]:
    """A function that opens data sets, imported when it does: torchvision and scikit-learn take seconds."""

    def opened(request: Request) -> Dataset:
        opener: Callable[[Request], Dataset] = getattr(importlib.import_module(f"tks_edge.data.{module}"), function)
        return opener(request)

    return opened


_OPENERS: dict[str, Callable[[Request], Dataset]] = {
    "digits": _of("digits", "open_digits"),
    "cifar10": _of("cifar", "open_cifar"),
    "cifar100": _of("cifar", "open_cifar"),
    "imagenet": _of("imagenet", "open_imagenet"),
    "cub200": _of("cub", "open_cub"),
    "stanford-dogs": _of("stanford_dogs", "open_dogs"),
    "stanford-cars": _of("stanford_cars", "open_cars"),
    "folder": _of("folder", "open_folder"),
    "digits-dvs": _of("digits_dvs", "open_digits_dvs"),
    "dvs-cifar10": _of("dvs_cifar10", "open_dvs_cifar10"),
    "ncaltech101": _of("ncaltech101", "open_ncaltech101"),
    "event-folder": _of("event_folder", "open_event_folder"),
}


def open_dataset(
    name: str,
    root: Path | str | None = None,
    *,
    image_size: int | None = None,
    timesteps: int = 1,
    frames: FrameSettings | None = None,
    download: bool = False,
) -> Dataset:
    """Open a data set with its fixed splits.

    Args:
        name: one of `facts.DATASETS`, or of a plugin.
        root: the folder that holds it; `data` when not given, and none for an embedded set.
        image_size: height and width of an input, in pixels, where it can be chosen; the data set's own when not given.
        timesteps: how many frames recordings are cut into.
        frames: how they are cut; `FrameSettings()` when not given.
        download: fetch what is not there, where the data set's own site allows it.

    Raises:
        InputError: an unknown name, an option that the set does not have, or a folder that is no data set.
        MissingError: it is not there.
    """
    facts = facts_of(name)
    if download and not facts.downloads:
        fetched = ", ".join(other for other, its in FACTS.items() if its.downloads)
        raise InputError(f"--download fetches {fetched}; {name} is not fetched. Leave it out.")
    if image_size is not None and not facts.resizable:
        raise InputError(f"the samples of {name} have a size of their own. Leave the image size out.")
    if facts.embedded and root is not None:
        raise InputError(f"{name} is embedded and is read from no folder, got {root}. Leave --data out.")
    if facts.own and root is None:
        raise InputError(f"--dataset {name} needs --data, a folder that holds one folder of samples for each class.")
    opener = _OPENERS[name] if name in _OPENERS else PLUGINS.load(name).open
    dataset = opener(
        Request(
            name=name,
            root=Path(root) if root is not None else _DEFAULT_ROOT,
            image_size=image_size if image_size is not None else facts.image_size,
            timesteps=timesteps,
            frames=frames if frames is not None else FrameSettings(),
            download=download,
        )
    )
    if dataset.name != name:
        raise InputError(f"the plugin's data set {name!r} calls itself {dataset.name!r}; both names must be one.")
    return dataset


def describe(dataset: Dataset) -> dict[str, Any]:
    """The record of a data set that a run keeps, JSON-able: enough to open it again and to see that it is the same."""
    steps = dataset.preprocessing
    return {
        "name": dataset.name,
        "root": dataset.root,
        "classes": list(dataset.classes),
        "in_channels": dataset.in_channels,
        "image_size": dataset.image_size,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "timesteps": dataset.timesteps,
        "cut": dataset.cut,
        "preprocessing": None if steps is None else dataclasses.asdict(steps) | {"crop": list(steps.crop)},
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
        download: fetch what is not there.

    Raises:
        InputError: it is not the same data any more.
        MissingError: it is not there.
    """
    name = record["name"]
    resizable = facts_of(name).resizable
    dataset = open_dataset(
        name,
        root if root is not None else record["root"],
        image_size=record["image_size"] if resizable else None,
        timesteps=record.get("timesteps") or 1,
        frames=FrameSettings(cut=record["cut"]) if record.get("cut") else None,
        download=download,
    )
    found = describe(dataset)
    changed = [part for part in ("classes", "splits") if found[part] != record[part]]
    if changed:
        where = f" at {dataset.root}" if dataset.root else ""
        advice = (
            "Give the folder it was made with, with --data." if dataset.root else "Make it again with this version."
        )
        raise InputError(
            f"the data set {name}{where} is not the one of this run: its {' and '.join(changed)} differ. {advice}"
        )
    return dataset
