"""`stanford-dogs`: 20,580 photographs of 120 breeds, by its own lists.

Source: Khosla et al., Novel Dataset for Fine-Grained Image Categorization, FGVC workshop at CVPR 2011.
"""

from __future__ import annotations

from pathlib import Path

from tks_edge.data.dataset import Dataset
from tks_edge.data.download import download
from tks_edge.data.expected import EXPECTED, not_there
from tks_edge.data.listed import Labelled, open_listed
from tks_edge.data.matlab import read_mat
from tks_edge.data.request import Request
from tks_edge_runtime.errors import InputError

_LISTS = ("train_list.mat", "test_list.mat")


def open_dogs(request: Request) -> Dataset:
    """Open Stanford Dogs: uint8 `[3, S, S]`; a tenth of the official training part validates, the official test tests.

    Raises:
        InputError: a list is damaged, or gives images of one folder different classes.
        MissingError: a list or an image is missing, or could not be downloaded.
    """
    if request.download:
        download(request.name, request.root)
    base = EXPECTED[request.name].base(request.root)
    found = [next((f for f in (base / name, base / "lists" / name) if f.is_file()), None) for name in _LISTS]
    lists = [file for file in found if file is not None]
    if len(lists) < len(_LISTS):
        lacking = next(name for name, file in zip(_LISTS, found, strict=True) if file is None)
        raise not_there(request.name, request.root, f"{lacking} is missing")
    train, test = (_read(file) for file in lists)
    return open_listed(request, base, _classes(base, (train, test)), train, test)


def _read(file: Path) -> Labelled:
    names = [str(name) for (name,) in read_mat(file, "file_list")]
    labels = [int(label) - 1 for (label,) in read_mat(file, "labels")]
    if len(names) != len(labels):
        raise InputError(f"{file} lists {len(names)} files and {len(labels)} classes. Unpack it again from lists.tar.")
    return Labelled([f"Images/{name}" for name in names], labels)


def _classes(base: Path, parts: tuple[Labelled, ...]) -> list[str]:
    """The breed of each class: there is no list of them, each is the folder that its images lie in."""
    folders: dict[int, str] = {}
    named = [pair for part in parts for pair in zip(part.names, part.labels, strict=True)]
    breeds = {name.split("/")[1] for name, _ in named}
    for name, label in named:
        folder = name.split("/")[1]
        if not 0 <= label < len(breeds):
            raise InputError(
                f"the lists in {base} give {name} the class {label + 1}, outside 1 to {len(breeds)}, the number of "
                "folders they name. Unpack them again from lists.tar."
            )
        if folders.setdefault(label, folder) != folder:
            raise InputError(
                f"the lists in {base} give the class {label + 1} to {folders[label]} and to {folder}. Unpack them "
                "again from lists.tar."
            )
    # As many folders as numbers, and one folder a number: every number is there.
    return [folders[label].partition("-")[2].replace("_", " ") or folders[label] for label in sorted(folders)]
