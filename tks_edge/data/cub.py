"""`cub200`: Caltech-UCSD Birds-200-2011, 11,788 photographs of 200 species, by its own lists.

Source: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, Caltech CNS-TR-2011-001.
"""

from __future__ import annotations

from pathlib import Path

from tks_edge.data.dataset import Dataset
from tks_edge.data.download import download
from tks_edge.data.expected import EXPECTED, not_there
from tks_edge.data.listed import Labelled, open_listed
from tks_edge.data.request import Request
from tks_edge_runtime.errors import InputError

_LISTS = ("classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt")
_FLAGS = ("1", "0")
"""In train_test_split.txt: an image of the training part, and one of the test."""


def open_cub(request: Request) -> Dataset:
    """Open CUB-200-2011: uint8 `[3, S, S]`; a tenth of the official training part validates, the official test tests.

    Raises:
        InputError: a list is damaged, or they do not go together.
        MissingError: a list or an image is missing, or could not be downloaded.
    """
    expected = EXPECTED[request.name]
    if request.download:
        download(request.name, request.root)
    base = expected.base(request.root)
    if lacking := [name for name in _LISTS if not (base / name).is_file()]:
        raise not_there(request.name, request.root, f"{lacking[0]} is missing")
    classes, paths, labels, official = (_read(base / name) for name in _LISTS)
    if not paths.keys() == labels.keys() == official.keys():
        raise InputError(f"the lists in {base} number different images. Unpack them again from CUB_200_2011.tgz.")
    _check_numbers(base, classes, labels, official)
    parts = ([number for number in paths if official[number] == flag] for flag in _FLAGS)
    train, test = (
        Labelled([f"images/{paths[number]}" for number in part], [int(labels[number]) - 1 for number in part])
        for part in parts
    )
    return open_listed(request, base, [_readable(name) for name in classes.values()], train, test)


def _read(path: Path) -> dict[str, str]:
    """A list: a number and a text a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return dict(line.split(maxsplit=1) for line in lines if line.strip())
    except ValueError as error:  # a line without a text, or no UTF-8
        raise InputError(
            f"{path} is damaged: not every line is a number and a text. Unpack it again from CUB_200_2011.tgz."
        ) from error


def _check_numbers(base: Path, classes: dict[str, str], labels: dict[str, str], official: dict[str, str]) -> None:
    """Raise InputError where a number in the lists stands for nothing; that of a class is checked with the others."""
    if list(classes) != [str(number) for number in range(1, len(classes) + 1)]:
        raise InputError(f"{base / 'classes.txt'} does not number the classes from 1 on. Unpack it again.")
    for name, found, said in (
        (
            "image_class_labels.txt",
            next((v for v in labels.values() if not v.isdigit()), None),
            "the number of a class",
        ),
        ("train_test_split.txt", next((v for v in official.values() if v not in _FLAGS), None), "1 or 0"),
    ):
        if found is not None:
            raise InputError(f"{base / name} says {found!r} where {said} belongs. Unpack it again.")


def _readable(name: str) -> str:
    """The name of "001.Black_footed_Albatross"."""
    return name.partition(".")[2].replace("_", " ") or name
