"""Folders of images: how they are divided, the same pixels as on a board, and every way they can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.data.dataset import Dataset, Transform
from tks_edge.data.loading import evaluation_batches, training_batches
from tks_edge.data.registry import describe, open_dataset, reopen
from tks_edge_runtime.artifact import Preprocessing, TensorSpec
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.images import read_image

# From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def augmentation(dataset: Dataset) -> Transform:
    return AUGMENTATIONS["small-images"](dataset.image_size, dataset.mean)


def write_images(folder: Path, count: int, colour: int = 0, size: tuple[int, int] = (40, 30)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, (colour, i, 0)).save(folder / f"{i:03}.png")


def test_a_plain_folder_is_split(tmp_path: Path) -> None:
    write_images(tmp_path / "cat", 30, 10)
    write_images(tmp_path / "dog", 20, 200)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    dataset = open_dataset("folder", tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert [len(split) for split in dataset.splits().values()] == [35, 5, 10]
    for split in dataset.splits().values():
        image, label = split[0]
        assert (tuple(image.shape), image.dtype) == ((3, 32, 32), torch.uint8)
        assert int(image[0, 0, 0]) == (10, 200)[label]
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert describe(reopen(describe(dataset), moved))["splits"] == describe(dataset)["splits"]


def test_given_splits_are_used_and_validation_is_drawn_from_training(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / "train" / name, 10)
        write_images(tmp_path / "test" / name, 3)
    dataset = open_dataset("folder", tmp_path)
    assert [len(split) for split in dataset.splits().values()] == [18, 2, 6]
    for name in ("cat", "dog"):
        write_images(tmp_path / "val" / name, 2)
    assert [len(split) for split in open_dataset("folder", tmp_path).splits().values()] == [20, 4, 6]


def test_without_a_test_folder_validation_is_held_out_of_training(tmp_path: Path) -> None:
    # ImageNet's layout.
    for name in ("cat", "dog"):
        write_images(tmp_path / "train" / name, 10)
        write_images(tmp_path / "val" / name, 3)
    dataset = open_dataset("folder", tmp_path)
    assert dataset.classes == ("cat", "dog")
    names = {part: {split.samples.name(index) for index in split.indices} for part, split in dataset.splits().items()}
    assert [len(names[part]) for part in ("train", "validation", "test")] == [18, 2, 6]
    assert {name.partition("/")[0] for name in names["test"]} == {"val"}
    assert {name.partition("/")[0] for name in names["train"] | names["validation"]} == {"train"}
    assert not names["train"] & names["validation"]
    record = describe(dataset)["splits"]
    assert [record[part]["folder"] for part in ("train", "validation", "test")] == ["train", "train", "val"]
    assert dataset.test.evenly_spaced(3).record()["folder"] == "val"
    assert describe(reopen(describe(dataset))) == describe(dataset)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("test",), "holds test/ but no train/"),
        (("val", "test"), "holds val/ and test/ but no train/"),
        (("train",), "neither test/ nor val/. Add one"),
    ],
)
def test_a_divided_folder_names_the_part_that_is_missing(parts: tuple[str, ...], said: str, tmp_path: Path) -> None:
    for part in (*parts, "cat"):
        for name in ("cat", "dog"):
            write_images(tmp_path / part / name, 10)
    with pytest.raises(InputError) as error:
        open_dataset("folder", tmp_path)
    assert said in str(error.value)
    assert len(str(error.value)) < 300 + 2 * len(str(tmp_path))


def write_turned_jpeg(path: Path, image: Image.Image) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.convert("RGB").save(path.with_suffix(".jpg"), exif=exif)


def write_sixteen_bits(path: Path, image: Image.Image) -> None:
    grey = np.asarray(image.convert("L"), dtype=np.uint16) * 2
    Image.fromarray(grey).save(path.with_suffix(".png"))


def write_clear_palette(path: Path, image: Image.Image) -> None:
    image.convert("P").save(path.with_suffix(".png"), transparency=bytes(range(256)))


WRITERS: dict[str, Callable[[Path, Image.Image], object]] = {
    "turned": write_turned_jpeg,
    "grey": lambda path, image: image.convert("L").save(path.with_suffix(".jpeg")),
    "clear": lambda path, image: image.convert("RGBA").save(path.with_suffix(".png")),
    "palette": lambda path, image: image.convert("P").save(path.with_suffix(".png")),
    "clear palette": write_clear_palette,
    "sixteen bits": write_sixteen_bits,
}


@pytest.mark.parametrize("image_size", [32, 128])
@pytest.mark.parametrize("kind", WRITERS)
def test_training_and_the_runtime_see_the_same_pixels(kind: str, image_size: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            write_images(tmp_path / part / name, 10)
    for i, size in enumerate(((97, 61), (61, 97), (33, 35), (300, 211))):
        noise = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).resize((size[1] * 2, size[0]))
        WRITERS[kind](tmp_path / "test" / "cat" / f"z{i}", noise)
    dataset = open_dataset("folder", tmp_path, image_size=image_size)
    spec = TensorSpec("input", (1, 3, image_size, image_size), "uint8", "NCHW", "pixels")
    compared = 0
    for index in dataset.test.indices:
        path = tmp_path / dataset.test.samples.name(index)
        seen = dataset.test.samples.prepared(index)
        assert np.array_equal(seen.numpy(), read_image(path, dataset.preprocessing, spec))
        if path.name.startswith("z"):
            compared += 1
            assert len(np.unique(seen)) > 20
    assert compared == 4


def test_training_sees_images_upright(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 19)
        write_turned_jpeg(tmp_path / name / "turned", Image.new("RGB", (50, 20)))
    images = open_dataset("folder", tmp_path).train.samples
    shapes = {tuple(images.original(i).shape) for i in range(len(images)) if images.name(i).endswith("turned.jpg")}
    assert shapes == {(3, 50, 20)}


def test_images_of_any_size_and_mode_come_out_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / "train" / name, 10, size=(300, 200))
        write_images(tmp_path / "test" / name, 1, size=(150, 400))
        Image.new("L", (7, 9), 100).save(tmp_path / "test" / name / "grey.png")
        Image.new("RGBA", (64, 64), (1, 2, 3, 4)).save(tmp_path / "test" / name / "clear.png")
    dataset = open_dataset("folder", tmp_path, image_size=128)
    assert dataset.preprocessing == Preprocessing(mode="RGB", resize=146, crop=(128, 128))
    assert {tuple(dataset.test[i][0].shape) for i in range(len(dataset.test))} == {(3, 128, 128)}
    (images, _), *_ = training_batches(dataset.train, augmentation(dataset), seed=0, batch_size=4, epochs=1)
    assert tuple(images.shape) == (4, 3, 128, 128)


def test_evaluation_resizes_the_shorter_side_and_crops_the_centre(tmp_path: Path) -> None:
    image = Image.new("RGB", (96, 32))
    image.paste((255, 255, 255), (32, 0, 64, 32))
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "test" / name).mkdir(parents=True)
        for i in range(10):
            image.save(tmp_path / "train" / name / f"{i}.png")
        image.save(tmp_path / "test" / name / "0.png")
    assert bool((open_dataset("folder", tmp_path).test[0][0] == 255).all())


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "holds no class"),
        ({"cat": 20}, "only the class 'cat'"),
        ({"cat": 20, "dog": 0}, "dog holds no image"),
        ({"cat": 20, "dog": 2}, "dog holds 2 images: too few"),
    ],
)
def test_folders_that_are_no_data_set(counts: dict[str, int], said: str, tmp_path: Path) -> None:
    for name, count in counts.items():
        write_images(tmp_path / name, count)
    with pytest.raises(InputError) as error:
        open_dataset("folder", tmp_path)
    assert said in str(error.value)


def test_splits_with_different_classes_are_refused(tmp_path: Path) -> None:
    for part, names in (("train", ("cat", "dog")), ("test", ("cat", "cow"))):
        for name in names:
            write_images(tmp_path / part / name, 10)
    with pytest.raises(InputError, match="differ in cow, dog"):
        open_dataset("folder", tmp_path)


# The header of a PNG of 30,000 x 30,000 pixels.
BOMB = bytes.fromhex("89504e470d0a1a0a0000000d4948445200007530000075300802000000e9456fed")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no image", BOMB, None])
def test_an_unreadable_image_is_named(workers: int, content: bytes | None, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 20)
    dataset = open_dataset("folder", tmp_path)
    victim = tmp_path / dataset.train.samples.name(dataset.train.indices[5])
    victim.write_bytes(victim.read_bytes()[:-30] if content is None else content)
    for batches in (
        training_batches(dataset.train, augmentation(dataset), seed=0, batch_size=7, epochs=1, workers=workers),
        evaluation_batches(dataset.train, 8, workers),
    ):
        with pytest.raises(InputError) as error:
            list(batches)
        assert str(error.value).startswith(f"{victim} is not an image that can be read")
        assert "Traceback" not in str(error.value)


def test_other_data_than_recorded_is_refused(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 20)
    record = describe(open_dataset("folder", tmp_path))
    write_images(tmp_path / "cat", 21)
    with pytest.raises(InputError, match="splits differ"):
        reopen(record)
