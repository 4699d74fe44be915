"""CUB-200-2011, Stanford Dogs and Stanford Cars from their own lists, and every way in which these can be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.lib.recfunctions import repack_fields
from scipy.io import loadmat, savemat

from tests.tks_edge.original_formats import (
    FINE_GRAINED,
    RED,
    TEST,
    TRAIN,
    write_cars,
    write_cub,
    write_dogs,
)
from tks_edge.data.registry import describe, open_dataset, reopen
from tks_edge_runtime.artifact import Preprocessing
from tks_edge_runtime.errors import InputError, MissingError, TksEdgeError

CLASSES = {
    "cub200": ("Black footed Albatross", "Laysan Albatross", "Sooty Albatross"),
    "stanford-dogs": ("Chihuahua", "Japanese spaniel", "Maltese dog"),
    "stanford-cars": ("AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"),
}
FOLDERS = {"cub200": "CUB_200_2011", "stanford-dogs": "stanford_dogs", "stanford-cars": "stanford_cars"}


@pytest.mark.parametrize("name", FINE_GRAINED)
def test_the_official_parts_are_used_and_a_tenth_of_the_training_validates(name: str, tmp_path: Path) -> None:
    FINE_GRAINED[name](tmp_path)
    dataset = open_dataset(name, tmp_path)
    assert dataset.classes == CLASSES[name]
    assert [len(split) for split in dataset.splits().values()] == [3 * TRAIN - 3, 3, 3 * TEST]
    assert sorted(dataset.validation.labels) == [0, 1, 2]
    assert set(Counter(dataset.test.labels).values()) == {TEST}
    assert not set(dataset.train.indices) & set(dataset.validation.indices)
    for split in dataset.splits().values():
        for image, label in (split[i] for i in range(len(split))):
            assert abs(int(image[0, 0, 0]) - RED[label]) < 8
    assert dataset.preprocessing == Preprocessing(mode="RGB", resize=256, crop=(224, 224))
    assert describe(reopen(describe(dataset))) == describe(dataset)
    assert describe(open_dataset(name, tmp_path / FOLDERS[name])) == describe(dataset)


def test_lists_may_lie_where_people_put_them(tmp_path: Path) -> None:
    write_dogs(tmp_path, "lists")
    write_cars(tmp_path, "devkit/cars_test_annos_withlabels.mat")
    for name in ("stanford-dogs", "stanford-cars"):
        assert len(open_dataset(name, tmp_path).test) == 3 * TEST


@pytest.mark.parametrize(
    ("name", "said", "fetched"),
    [
        ("cub200", ("CUB_200_2011.tgz (1,150,585,339 bytes, MD5 97eceeb196236b17998738112f37df78)",), True),
        ("stanford-dogs", ("Images/ from images.tar (793,579,520 bytes, SHA256", "lists.tar (481,280 bytes"), True),
        ("stanford-cars", ("cars_test_annos_withlabels.mat (185,758 bytes", "cars_train.tgz (979,269,282"), False),
    ],
)
def test_what_is_missing_is_said_with_sizes_and_sums(
    name: str, said: tuple[str, ...], fetched: bool, tmp_path: Path
) -> None:
    with pytest.raises(MissingError) as error:
        open_dataset(name, tmp_path)
    for text in (*said, str(tmp_path / FOLDERS[name]), "--data"):
        assert text in str(error.value)
    assert ("--download" in str(error.value)) is fetched


@pytest.mark.parametrize("name", FINE_GRAINED)
def test_listed_images_that_are_missing_are_counted_and_named(name: str, tmp_path: Path) -> None:
    FINE_GRAINED[name](tmp_path)
    gone = sorted((tmp_path / FOLDERS[name]).rglob("*.jpg"))[2:7]
    for file in gone:
        file.unlink()
    with pytest.raises(MissingError) as error:
        open_dataset(name, tmp_path)
    assert (
        f"5 of {3 * (TRAIN + TEST)} listed images are missing ({gone[0].relative_to(tmp_path / FOLDERS[name])}, "
        in (str(error.value))
    )
    assert str(error.value).count(".jpg") == 3


def replace_in(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        write_cub(root)
        path = root / "CUB_200_2011" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def dogs_with_a_label(label: int) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        write_dogs(root)
        path = root / "stanford_dogs/train_list.mat"
        content = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
        content["labels"][3] = label
        savemat(path, content)

    return change


def cars_with_a_class_less(root: Path) -> None:
    write_cars(root)
    path = root / "stanford_cars/devkit/cars_meta.mat"
    savemat(path, {"class_names": loadmat(path)["class_names"][:, :2]})


def cars_without_labels(root: Path) -> None:
    write_cars(root)
    path = root / "stanford_cars/cars_test_annos_withlabels.mat"
    savemat(path, {"annotations": repack_fields(loadmat(path)["annotations"][["bbox_x1", "fname"]])})


def cars_cut_off(root: Path) -> None:
    write_cars(root)
    path = root / "stanford_cars/devkit/cars_train_annos.mat"
    path.write_bytes(path.read_bytes()[:200])


def cars_without_the_test_list(root: Path) -> None:
    write_cars(root)
    (root / "stanford_cars/cars_test_annos_withlabels.mat").unlink()


def cub_without_a_list(root: Path) -> None:
    write_cub(root)
    (root / "CUB_200_2011/train_test_split.txt").unlink()


@pytest.mark.parametrize(
    ("name", "write", "kind", "said"),
    [
        ("cub200", cub_without_a_list, MissingError, "train_test_split.txt is missing"),
        (
            "cub200",
            replace_in("image_class_labels.txt", "3 1\n", "3 9\n"),
            InputError,
            "the class 9, and 1 of 30 images",
        ),
        (
            "cub200",
            replace_in("image_class_labels.txt", "3 1\n", "3 x\n"),
            InputError,
            "says 'x' where the number of a",
        ),
        ("cub200", replace_in("train_test_split.txt", "4 1\n", "4 2\n"), InputError, "says '2' where 1 or 0 belongs"),
        ("cub200", replace_in("train_test_split.txt", "4 1\n", ""), InputError, "number different images"),
        ("cub200", replace_in("classes.txt", "2 002", "5 002"), InputError, "does not number the classes from 1 on"),
        ("cub200", replace_in("images.txt", "7 ", "7\n"), InputError, "images.txt is damaged"),
        ("stanford-dogs", dogs_with_a_label(4), InputError, "the class 4, outside 1 to 3"),
        ("stanford-dogs", dogs_with_a_label(0), InputError, "the class 0, outside 1 to 3"),
        ("stanford-dogs", dogs_with_a_label(3), InputError, "give the class 3 to n02085620-Chihuahua and to"),
        ("stanford-cars", cars_with_a_class_less, InputError, "the class 3, and 10 of 30 images one outside 1 to 2"),
        (
            "stanford-cars",
            cars_without_labels,
            InputError,
            "cannot be read as a MATLAB file with annotations with fname",
        ),
        ("stanford-cars", cars_cut_off, InputError, "cars_train_annos.mat cannot be read as a MATLAB file"),
        ("stanford-cars", cars_without_the_test_list, MissingError, "cars_test_annos_withlabels.mat is missing"),
    ],
)
def test_lists_that_are_wrong_are_refused(
    name: str, write: Callable[[Path], None], kind: type[TksEdgeError], said: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(kind) as error:
        open_dataset(name, tmp_path)
    assert said in str(error.value)
