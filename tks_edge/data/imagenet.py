"""`imagenet`: ImageNet-1k (ILSVRC 2012), 1,281,167 photographs of 1,000 classes to train on, 50,000 to test.

Source: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115(3), 2015.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from tks_edge.data.dataset import Dataset
from tks_edge.data.expected import EXPECTED, not_there
from tks_edge.data.image_files import file_names
from tks_edge.data.listed import Labelled, check_labels, check_there, divided
from tks_edge.data.matlab import read_mat
from tks_edge.data.request import Request
from tks_edge_runtime.errors import InputError, MissingError

_WNID = re.compile(r"n\d{8}")
_TRAIN, _VAL = "train", "val"
_CLASSES = 1000
_SIZES = {_TRAIN: 1_281_167, _VAL: 50_000}
"""Of all classes; a part of them, as ImageNet-100 is, may have any size."""
_DEVKIT = "ILSVRC2012_devkit_t12"


def open_imagenet(request: Request) -> Dataset:
    """Open ImageNet-1k: uint8 `[3, S, S]`; a tenth of train/ validates, val/ tests: the test images have no labels.

    The classes are in the order of their WordNet IDs, as everywhere. With all 1,000 of them their names are those of
    torchvision's weights; of fewer, those of the devkit, or the IDs where there is none.

    Raises:
        InputError: train/ and val/ hold different classes, or the devkit is damaged.
        MissingError: a part is missing, or not whole.
    """
    base = EXPECTED[request.name].base(request.root)
    lacks = partial(not_there, request.name, request.root)
    for part in (_TRAIN, _VAL):
        if not (base / part).is_dir():
            archive = next(file.name for file in EXPECTED[request.name].files if f"{part}/" in file.holds)
            if (base / archive).is_file():
                raise MissingError(
                    f"{base / archive} is there, but not unpacked. torchvision unpacks it (twice its size is needed): "
                    f'python -c \'from torchvision.datasets import ImageNet; ImageNet("{base}", "{part}")\''
                )
            raise lacks(f"{part}/ is missing")
    wnids = _wnids(base / _TRAIN)
    if not wnids:
        raise lacks("train/ holds no folder that is called after a WordNet ID, such as n01440764")
    train = _by_folder(base, _TRAIN, wnids)
    raw = not _wnids(base / _VAL)
    test = _by_devkit(request, base, wnids) if raw else _by_folder(base, _VAL, wnids)
    for part, listed in ((_TRAIN, train), (_VAL, test)):
        if len(wnids) == _CLASSES and len(listed.names) != _SIZES[part]:
            raise lacks(
                f"{part}/ holds {len(listed.names):,} images of {_SIZES[part]:,} (for a part of them there is "
                "--dataset folder)"
            )
    return divided(request, base, _names(base, wnids), train, test)


def _wnids(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if _WNID.fullmatch(entry.name) and entry.is_dir())


def _by_folder(base: Path, part: str, wnids: Sequence[str]) -> Labelled:
    """The images of a part that is divided into folders called after the WordNet IDs."""
    if odd := sorted(set(_wnids(base / part)) ^ set(wnids)):
        raise InputError(
            f"{base / part} and {base / _TRAIN} must hold the same classes; they differ in {len(odd)}, the first of "
            f"them {odd[0]}. Unpack the archives again."
        )
    names: list[str] = []
    labels: list[int] = []
    for label, wnid in enumerate(wnids):
        found = file_names(base, f"{part}/{wnid}")
        if not found:
            raise InputError(f"the class folder {base / part / wnid} holds no image. Unpack the archive again.")
        names += found
        labels += [label] * len(found)
    return Labelled(names, labels, part)


def _by_devkit(request: Request, base: Path, wnids: Sequence[str]) -> Labelled:
    """The images of val/ as they come, all in one folder: image i is of the class that the devkit lists i-th."""
    truth = _devkit_file(base, "data/ILSVRC2012_validation_ground_truth.txt")
    synsets = _synsets(base)
    if truth is None or synsets is None:
        raise not_there(request.name, request.root, f"val/ holds no folders of classes, and {_DEVKIT} is missing")
    try:
        numbers = [int(line) for line in truth.read().split()]
    except ValueError as error:
        raise InputError(f"the ground truth in {base / _DEVKIT} is damaged ({error}). Download it again.") from error
    names = [f"{_VAL}/ILSVRC2012_val_{position:08}.JPEG" for position in range(1, len(numbers) + 1)]
    check_labels(base, tuple(synsets), Labelled(names, [number - 1 for number in numbers]))
    if set(synsets) != set(wnids):
        odd = sorted(set(synsets) ^ set(wnids))
        raise InputError(
            f"{base / _TRAIN} and the devkit must hold the same classes; they differ in {len(odd)}, the first of them "
            f"{odd[0]}. Unpack the archives again."
        )
    check_there(request, base, names)
    # The devkit counts in an order of its own.
    order = {wnid: label for label, wnid in enumerate(wnids)}
    own = list(synsets)
    return Labelled(names, [order[own[number - 1]] for number in numbers], _VAL)


def _synsets(base: Path) -> dict[str, str] | None:
    """The words of each class by its WordNet ID, in the order of the devkit's numbers from 1; None without a devkit."""
    file = _devkit_file(base, "data/meta.mat")
    if file is None:
        return None
    entries = read_mat(file, "synsets", "ILSVRC2012_ID", "WNID", "words", "num_children")
    # A synset with children is a superordinate, and comes after the classes.
    leaves = sorted((int(number), str(wnid), str(words)) for number, wnid, words, below in entries if not int(below))
    if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
        raise InputError(f"{base / _DEVKIT} does not number the classes from 1 on. Download it again.")
    return {wnid: words for _, wnid, words in leaves}


def _devkit_file(base: Path, inner: str) -> IO[Any] | None:
    """A file of the devkit, from its folder or its archive."""
    for folder in (base / _DEVKIT, base):
        if (folder / inner).is_file():
            return io.BytesIO((folder / inner).read_bytes())
    archive = base / f"{_DEVKIT}.tar.gz"
    if not archive.is_file():
        return None
    try:
        with tarfile.open(archive) as opened:
            member = opened.extractfile(f"{_DEVKIT}/{inner}")
            return None if member is None else io.BytesIO(member.read())
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise InputError(f"{archive} is damaged ({error}). Download it again.") from error


def _names(base: Path, wnids: Sequence[str]) -> tuple[str, ...]:
    """A name for each class: of all classes, it does not depend on what else lies in the folder."""
    if len(wnids) == _CLASSES:
        from torchvision.models import ResNet18_Weights

        return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    synsets = _synsets(base) or {}
    return tuple(synsets.get(wnid, wnid).split(",")[0] for wnid in wnids)
