"""Sets of photographs that come with lists: which image is of which class, and which are for the test."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.expected import not_there
from tks_edge.data.image_files import FileImages
from tks_edge.data.photographs import photographs, preprocessing_for
from tks_edge.data.request import Request
from tks_edge.data.splits import stratified
from tks_edge_runtime.errors import InputError

_VALIDATION_SHARE = 10
"""One training image in ten chooses the checkpoint."""
_SHOWN = 3
"""How many of the files that are missing are named."""


@dataclass(frozen=True)
class Labelled:
    """Images of one part of a data set.

    Attributes:
        names: the path of each below the data set's folder, with forward slashes.
        labels: the class of each, from 0.
        folder: the folder of the data set that they are all in, where the set comes divided by folders.
    """

    names: Sequence[str]
    labels: Sequence[int]
    folder: str | None = None


def open_listed(request: Request, base: Path, classes: Sequence[str], train: Labelled, test: Labelled) -> Dataset:
    """The data set that the lists in the folder `base` describe: a fixed stratified tenth of `train` validates.

    Raises:
        InputError: a class is none of `classes`, or a part is empty.
        MissingError: an image that is listed is not there.
    """
    for part, listed in (("training", train), ("test", test)):
        if not listed.names:
            raise InputError(f"the lists in {base} name no image of the {part} part. Unpack them again.")
        check_labels(base, classes, listed)
    check_there(request, base, [*train.names, *test.names])
    return divided(request, base, tuple(classes), train, test)


def divided(request: Request, base: Path, classes: tuple[str, ...], train: Labelled, test: Labelled) -> Dataset:
    """The data set of these parts in the folder `base`: a fixed stratified tenth of `train` validates."""
    n = len(train.names)
    held_out = max(1, n // _VALIDATION_SHARE)
    validation, training = stratified(train.names, train.labels, (held_out, n - held_out))
    preprocessing = preprocessing_for(request.image_size)
    images = FileImages(base, train.names, preprocessing)
    return photographs(
        request,
        base,
        Split(images, train.labels, training, train.folder),
        Split(images, train.labels, validation, train.folder),
        Split(FileImages(base, test.names, preprocessing), test.labels, range(len(test.names)), test.folder),
        classes,
    )


def check_labels(base: Path, classes: Sequence[str], listed: Labelled) -> None:
    """Raise InputError where a label is none of the classes."""
    odd = [index for index, label in enumerate(listed.labels) if not 0 <= label < len(classes)]
    if odd:
        raise InputError(
            f"the lists in {base} give {listed.names[odd[0]]} the class {listed.labels[odd[0]] + 1}, and {len(odd):,} "
            f"of {len(listed.names):,} images one outside 1 to {len(classes)}. Unpack the lists again."
        )


def check_there(request: Request, base: Path, names: Iterable[str]) -> None:
    """Raise MissingError where an image that is listed is not in the folder `base`: how many, and the first of them."""
    wanted: dict[str, list[str]] = {}
    total = 0
    for name in names:
        folder, _, file = name.rpartition("/")
        wanted.setdefault(folder, []).append(file)
        total += 1
    # A folder is listed once: asking for each of a million files takes minutes where the disk is a network's.
    missing = [
        f"{folder}/{file}" for folder, files in wanted.items() for file in sorted(set(files) - _held(base / folder))
    ]
    if missing:
        more = ", ..." if len(missing) > _SHOWN else ""
        raise not_there(
            request.name,
            request.root,
            f"{len(missing):,} of {total:,} listed images are missing ({', '.join(missing[:_SHOWN])}{more})",
        )


def _held(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
