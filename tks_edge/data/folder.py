"""`folder`: a folder of images, one subfolder a class, or `train/`, `test/` and perhaps `val/` with those inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as tv

from tks_edge.data.dataset import Dataset, Samples, Split
from tks_edge.data.facts import LARGE
from tks_edge.data.request import Request
from tks_edge.data.splits import SPLIT_SEED, stratified
from tks_edge_runtime.artifact import Preprocessing
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.images import fit, open_image

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Those of ImageNet, as torchvision uses them: photographs of anything are near them."""
_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1
_PARTS = ("train", "val", "test")


class FileImages:
    """Images in files below `root`, read when they are asked for."""

    def __init__(self, root: Path, paths: Sequence[Path], preprocessing: Preprocessing) -> None:
        self._root = root
        self._paths = tuple(paths)
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._paths)

    def original(self, index: int) -> Tensor:
        """Image `index` in its own size, uint8 `[3, H, W]`."""
        image: Tensor = tv.pil_to_tensor(open_image(self._paths[index], self._preprocessing.mode))
        return image

    def prepared(self, index: int) -> Tensor:
        """Image `index`, resized and cropped, uint8 `[3, S, S]`."""
        image = fit(open_image(self._paths[index], self._preprocessing.mode), self._preprocessing)
        pixels: Tensor = tv.pil_to_tensor(image)
        return pixels

    def name(self, index: int) -> str:
        """The path below the data set's folder, with forward slashes."""
        return self._paths[index].relative_to(self._root).as_posix()


def open_folder(request: Request) -> Dataset:
    """Open a folder of images as RGB, uint8 `[3, S, S]` with S = `request.image_size` pixels.

    Up to 127 pixels the shorter side is resized to S; from 128 to 256/224 of S, as is usual at ImageNet's size. The
    centre is then cropped.

    `request.root` holds the classes, of which a fixed stratified fifth is held out for the test and a tenth for
    validation; or `train/` and `test/`, and validation is `val/` or a tenth of `train/`; or, as ImageNet does, `train/`
    and `val/`: then `val/` is the test split, and validation a tenth of `train/`.

    Raises:
        InputError: no folder, no class, a single or an empty class, too few images to split, or a part is missing.
    """
    root, image_size = request.root, request.image_size
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder. Give --data a folder that holds one folder of images for each class."
        )
    large = image_size >= LARGE
    resize = round(image_size * 256 / 224) if large else image_size
    preprocessing = Preprocessing(mode="RGB", resize=resize, crop=(image_size, image_size))
    kind = Kind("image", IMG_EXTENSIONS, lambda paths: FileImages(root, paths, preprocessing))
    train, validation, test, classes = divided(root, kind)
    return Dataset(
        name="folder",
        root=str(root.resolve()),
        train=train,
        validation=validation,
        test=test,
        classes=classes,
        in_channels=3,
        image_size=image_size,
        mean=_MEAN,
        std=_STD,
        preprocessing=preprocessing,
        split_seed=SPLIT_SEED,
    )


@dataclass(frozen=True)
class Kind:
    """What the class folders hold.

    Attributes:
        noun: what a file is called, in the singular.
        endings: of the files that count, in lower case.
        samples: makes samples of files below the data set's folder.
    """

    noun: str
    endings: Sequence[str]
    samples: Callable[[Sequence[Path]], Samples]


def divided(root: Path, kind: Kind) -> tuple[Split, Split, Split, tuple[str, ...]]:
    """The three splits and the classes, from the folders that are there and, for those that are not, by drawing.

    Raises:
        InputError: no class, a single or an empty class, too few files to split, or a part is missing.
    """
    given = _division(root)
    folder = "train" if given else None
    base = root / folder if folder else root
    classes, paths, labels = _listed(base, kind)
    samples = kind.samples(paths)
    test, validation = (
        _given(root, given[part], classes, kind) if part in given else None for part in ("test", "validation")
    )
    n = len(paths)
    sizes = (0 if test else round(_TEST_SHARE * n), 0 if validation else max(1, round(_VALIDATION_SHARE * n)))
    drawn = stratified([samples.name(index) for index in range(n)], labels, (*sizes, n - sum(sizes)))
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
    found, paths, labels = _listed(root / part, kind)
    if found != classes:
        odd = sorted(set(found) ^ set(classes))
        raise InputError(
            f"{root / part} and {root / 'train'} must hold the same classes; they differ in {', '.join(odd)}."
        )
    return Split(kind.samples(paths), labels, range(len(paths)), part)


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


def _listed(base: Path, kind: Kind) -> tuple[tuple[str, ...], list[Path], list[int]]:
    """The classes below `base`, and every file in them that counts, with its class."""
    classes = tuple(sorted(entry.name for entry in base.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    if len(classes) < 2:
        held = f"only the class {classes[0]!r}" if classes else "no class"
        raise InputError(f"{base} holds {held}. It needs at least two folders of {kind.noun}s, one for each class.")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (base / name).rglob("*") if path.suffix.lower() in kind.endings)
        if not found:
            raise InputError(
                f"the class folder {base / name} holds no {kind.noun} ({', '.join(kind.endings)}). Fill or remove it."
            )
        paths += found
        labels += [label] * len(found)
    return classes, paths, labels
