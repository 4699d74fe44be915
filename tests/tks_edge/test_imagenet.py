"""ImageNet as it is unpacked, with and without its devkit, and every way in which it can be incomplete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tks_edge.original_formats import RED, TEST, TRAIN, WNIDS, write_devkit, write_image, write_imagenet
from tks_edge.data import imagenet
from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import describe, open_dataset, reopen
from tks_edge_runtime.errors import InputError, MissingError, TksEdgeError


def check(dataset: Dataset) -> None:
    """Every image has the colour of its class."""
    assert [len(split) for split in dataset.splits().values()] == [len(WNIDS) * TRAIN - 3, 3, len(WNIDS) * TEST]
    for split in dataset.splits().values():
        for image, label in (split[i] for i in range(len(split))):
            assert (tuple(image.shape), image.dtype) == ((3, 224, 224), torch.uint8)
            assert abs(int(image[0, 0, 0]) - RED[label]) < 8


@pytest.mark.parametrize("folder", [".", "imagenet"])
@pytest.mark.parametrize("devkit", ["archive", "folder"])
@pytest.mark.parametrize("raw", [False, True])
def test_both_layouts_are_read(raw: bool, devkit: str, folder: str, tmp_path: Path) -> None:
    write_imagenet(tmp_path / folder, raw=raw, devkit=devkit)
    dataset = open_dataset("imagenet", tmp_path)
    check(dataset)
    assert dataset.classes == ("tench", "goldfish", "great white shark")
    assert [split.folder for split in dataset.splits().values()] == ["train", "train", "val"]
    assert describe(reopen(describe(dataset))) == describe(dataset)


def test_without_a_devkit_a_part_of_the_classes_is_called_by_its_ids(tmp_path: Path) -> None:
    write_imagenet(tmp_path, devkit=None)
    assert open_dataset("imagenet", tmp_path).classes == WNIDS


def write_all_classes(root: Path) -> None:
    write_image(root / "one.JPEG", 0)
    for number in range(1000):
        for part in ("train", "val"):
            folder = root / part / f"n{number:08}"
            folder.mkdir(parents=True)
            (folder / f"{number}.JPEG").hardlink_to(root / "one.JPEG")


def test_the_whole_set_has_names_and_the_published_number_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all_classes(tmp_path)
    with pytest.raises(MissingError) as error:
        open_dataset("imagenet", tmp_path)
    assert "train/ holds 1,000 images of 1,281,167" in str(error.value)
    monkeypatch.setattr(imagenet, "_SIZES", {"train": 1000, "val": 1000})
    classes = open_dataset("imagenet", tmp_path).classes
    assert (len(set(classes)), classes[0], classes[999]) == (1000, "tench", "toilet tissue")


def test_a_smaller_input_is_cropped_from_a_smaller_image(tmp_path: Path) -> None:
    write_imagenet(tmp_path)
    image, _ = open_dataset("imagenet", tmp_path, image_size=32).test[0]
    assert tuple(image.shape) == (3, 32, 32)


def test_what_is_missing_is_said_with_sizes_and_sums(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as error:
        open_dataset("imagenet", tmp_path)
    said = str(error.value)
    assert "train/ is missing" in said
    assert "train/ from ILSVRC2012_img_train.tar (147,897,477,120 bytes, MD5 1d675b47d978889d74fa0da5fadfb00e)" in said
    assert "val/ from ILSVRC2012_img_val.tar (6,744,924,160 bytes, MD5 29b22e2961454d5413ddabcf34fc5622)" in said
    assert "--data" in said
    assert "--download" not in said
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet/ILSVRC2012_img_train.tar").touch()
    with pytest.raises(MissingError, match=r"train\.tar is there, but not unpacked"):
        open_dataset("imagenet", tmp_path)


def without_devkit(root: Path) -> None:
    write_imagenet(root, raw=True, devkit=None)


def without_an_image(root: Path) -> None:
    write_imagenet(root, raw=True)
    for position in (2, 5):
        (root / f"val/ILSVRC2012_val_{position:08}.JPEG").unlink()


def with_a_label_outside(root: Path) -> None:
    write_imagenet(root, raw=True, devkit=None)
    write_devkit(root, [1, 2, 3, 7, 2, 3, 1, 2, 3], archive=False)


def without_a_class(root: Path) -> None:
    write_imagenet(root)
    (root / "val" / WNIDS[1]).rename(root / "val/n99999999")


def with_an_empty_class(root: Path) -> None:
    write_imagenet(root)
    for file in (root / "train" / WNIDS[2]).iterdir():
        file.unlink()


def with_half_a_devkit(root: Path) -> None:
    write_imagenet(root, raw=True)
    archive = root / "ILSVRC2012_devkit_t12.tar.gz"
    archive.write_bytes(archive.read_bytes()[:300])


@pytest.mark.parametrize(
    ("write", "kind", "said"),
    [
        (without_devkit, MissingError, "val/ holds no folders of classes, and ILSVRC2012_devkit_t12 is missing"),
        (without_an_image, MissingError, "2 of 9 listed images are missing (val/ILSVRC2012_val_00000002.JPEG, val/"),
        (with_a_label_outside, InputError, "val/ILSVRC2012_val_00000004.JPEG the class 7, and 1 of 9 images one"),
        (without_a_class, InputError, "they differ in 2, the first of them n01443537"),
        (with_an_empty_class, InputError, "n01484850 holds no image"),
        (with_half_a_devkit, InputError, "t12.tar.gz is damaged"),
    ],
)
def test_what_is_not_whole_is_refused(write: Any, kind: type[TksEdgeError], said: str, tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(kind) as error:
        open_dataset("imagenet", tmp_path)
    assert said in str(error.value)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_image(tmp_path / part / "cat/0.jpg", 0)
    with pytest.raises(MissingError, match="no folder that is called after a WordNet ID, such as n01440764"):
        open_dataset("imagenet", tmp_path)


def test_names_of_a_million_files_lie_in_one_piece() -> None:
    from tks_edge.data.image_files import Names

    plain = ["", "train/a/0.JPEG", "train/ä/1.JPEG", "x"]
    names = Names(plain)
    assert list(names) == plain
    assert (names[-1], list(names[1:3]), len(names)) == ("x", plain[1:3], 4)
    with pytest.raises(IndexError):
        names[4]
    assert isinstance(names._bytes, bytes)
    assert names._ends.dtype == np.int64
