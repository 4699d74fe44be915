"""`stanford-cars`: 16,185 photographs of 196 models of cars, by its own lists.

Source: Krause et al., 3D Object Representations for Fine-Grained Categorization, 3dRR workshop at ICCV 2013.
"""

from __future__ import annotations

from pathlib import Path

from tks_edge.data.dataset import Dataset
from tks_edge.data.expected import EXPECTED, not_there
from tks_edge.data.listed import Labelled, open_listed
from tks_edge.data.matlab import read_mat
from tks_edge.data.request import Request

_META, _TRAIN = "devkit/cars_meta.mat", "devkit/cars_train_annos.mat"
_TEST = ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat")
"""With the classes of the test images; the devkit's own list of them has none."""


def open_cars(request: Request) -> Dataset:
    """Open Stanford Cars: uint8 `[3, S, S]`; a tenth of the official training part validates, the official test tests.

    Raises:
        InputError: a list is damaged.
        MissingError: a list or an image is missing.
    """
    base = EXPECTED[request.name].base(request.root)
    files = [_first(base, names) for names in ((_META,), (_TRAIN,), _TEST)]
    if lacking := [file for file in files if not file.is_file()]:
        raise not_there(request.name, request.root, f"{lacking[0].relative_to(base).as_posix()} is missing")
    meta, train, test = files
    classes = [str(name) for (name,) in read_mat(meta, "class_names")]
    return open_listed(request, base, classes, _read(train, "cars_train"), _read(test, "cars_test"))


def _first(base: Path, names: tuple[str, ...]) -> Path:
    return next((base / name for name in names if (base / name).is_file()), base / names[0])


def _read(file: Path, folder: str) -> Labelled:
    entries = read_mat(file, "annotations", "fname", "class")
    return Labelled([f"{folder}/{name}" for name, _ in entries], [int(label) - 1 for _, label in entries])
