"""`folder`: a folder of images, one subfolder a class, or `train/`, `test/` and perhaps `val/` with those inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from tks_edge.data.dataset import Dataset, Samples, Split
from tks_edge.data.image_files import FileImages, file_names
from tks_edge.data.photographs import photographs, preprocessing_for
from tks_edge.data.request import Request
from tks_edge.data.splits import stratified
from tks_edge_runtime.errors import InputError

_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1
_PARTS = ("train", "val", "test")


def open_folder(request: Request) -> Dataset:
    """Open a folder of images as RGB, uint8 `[3, S, S]` with S = `request.image_size` pixels; see `preprocessing_for`.

    `request.root` holds the classes, of which a fixed stratified fifth is held out for the test and a tenth for
    validation; or `train/` and `test/`, and validation is `val/` or a tenth of `train/`; or, as ImageNet does, `train/`
    and `val/`: then `val/` is the test split, and validation a tenth of `train/`.

    Raises:
        InputError: no folder, no class, a single or an empty class, too few images to split, or a part is missing.
    """
    root = request.root
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder. Give --data a folder that holds one folder of images for each class."
        )
    preprocessing = preprocessing_for(request.image_size)
    kind = Kind("image", IMG_EXTENSIONS, lambda names: FileImages(root, names, preprocessing))
    train, validation, test, classes = divided(root, kind)
    return photographs(request, root, train, validation, test, classes)


@dataclass(frozen=True)
class Kind:
    """What the class folders hold.

    Attributes:
        noun: what a file is called, in the singular.
        endings: of the files that count, in lower case.
        samples: makes samples of the paths of files below the data set's folder.
    """

    noun: str
    endings: Sequence[str]
    samples: Callable[[Sequence[str]], Samples]


def divided(root: Path, kind: Kind) -> tuple[Split, Split, Split, tuple[str, ...]]:
    """The three splits and the classes, from the folders that are there and, for those that are not, by drawing.

    Raises:
        InputError: no class, a single or an empty class, too few files to split, or a part is missing.
    """
    given = _division(root)
    folder = "train" if given else None
    base = root / folder if folder else root
    classes, names, labels = _listed(root, base, kind)
    samples = kind.samples(names)
    test, validation = (
        _given(root, given[part], classes, kind) if part in given else None for part in ("test", "validation")
    )
    n = len(names)
    sizes = (0 if test else round(_TEST_SHARE * n), 0 if validation else max(1, round(_VALIDATION_SHARE * n)))
    drawn = stratified(names, labels, (*sizes, n - sum(sizes)))
    for part in filter(None, drawn):
        _check_every_class(part, labels, classes, base, kind)
    for_test, for_validation, train = (Split(samples, labels, part, folder) for part in drawn)
    return train, validation or for_validation, test or for_test, classes


def _division(root: Path) -> dict[str, str]:
    """The folder of each split that is given; empty where `root` holds the classes themselves."""
    found = [part for part in _PARTS if (root / part).is_dir()]
    if not found:
        return {}
    if "train" not in found:
        raise InputError(
            f"{root} holds {'/ and '.join(found)}/ but no train/: with one of train/, val/ and test/ it counts as "
            "divided. Add train/, or rename a class of that name."
        )
    if found == ["train"]:
        raise InputError(
            f"{root} holds train/ but neither test/ nor val/. Add one; or give --data {root / 'train'}, to have it "
            "divided; or rename a class called train."
        )
    if "test" not in found:
        # As in ImageNet, whose test set has no labels: what is reported must not choose the checkpoint.
        return {"test": "val"}
    return {"test": "test"} | ({"validation": "val"} if "val" in found else {})


def _given(root: Path, part: str, classes: tuple[str, ...], kind: Kind) -> Split:
    found, names, labels = _listed(root, root / part, kind)
    if found != classes:
        odd = sorted(set(found) ^ set(classes))
        raise InputError(
            f"{root / part} and {root / 'train'} must hold the same classes; they differ in {', '.join(odd)}."
        )
    return Split(kind.samples(names), labels, range(len(names)), part)


def _check_every_class(
    part: Sequence[int], labels: Sequence[int], classes: Sequence[str], base: Path, kind: Kind
) -> None:
    missing = sorted(set(range(len(classes))) - {labels[index] for index in part})
    if missing:
        name = classes[missing[0]]
        raise InputError(
            f"{base / name} holds {list(labels).count(missing[0])} {kind.noun}s: too few for training, validation and "
            f"test to get one each. Add {kind.noun}s, or give train/, val/ and test/ folders."
        )


def _listed(root: Path, base: Path, kind: Kind) -> tuple[tuple[str, ...], list[str], list[int]]:
    """The classes in the folder `base`, and the path below `root` of every file in them that counts, with its class."""
    classes = tuple(sorted(entry.name for entry in base.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if len(classes) < 2:
        held = f"only the class {classes[0]!r}" if classes else "no class"
        raise InputError(f"{base} holds {held}. It needs at least two folders of {kind.noun}s, one for each class.")
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = file_names(root, (base / name).relative_to(root).as_posix(), kind.endings)
        if not found:
            raise InputError(
                f"the class folder {base / name} holds no {kind.noun} ({', '.join(kind.endings)}). Fill or remove it."
            )
        names += found
        labels += [label] * len(found)
    return classes, names, labels
