"""The data sets: fixed, disjoint, stratified splits; loading that depends on seed, epoch and sample alone; errors."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle  # noqa: TID251 - CIFAR is published as pickles, and the test writes its format
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from torchvision.datasets import CIFAR10, CIFAR100

from tks_edge.data.augment import Jitter, LargeImages, RandAugment, SmallImages
from tks_edge.data.dataset import Dataset
from tks_edge.data.loading import evaluation_batches, steps_per_epoch, training_batches
from tks_edge.data.registry import describe, open_dataset, reopen
from tks_edge.data.splits import stratified
from tks_edge.settings import DATASETS
from tks_edge_runtime.artifact import TensorSpec
from tks_edge_runtime.errors import InputError, MissingError
from tks_edge_runtime.images import read_image

# From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

# digits ---------------------------------------------------------------------------------------------------------------


def test_digits_are_real_digits_at_sixteen_pixels(digits: Dataset) -> None:
    image, label = digits.train[0]
    assert (image.dtype, tuple(image.shape), label in range(10)) == (torch.uint8, (1, 16, 16), True)
    every = torch.stack([split[i][0] for split in digits.splits().values() for i in range(len(split))])
    assert len(every) == 1797
    assert (int(every.min()), int(every.max())) == (0, 255)
    assert digits.classes == tuple("0123456789")


def test_the_splits_of_digits_never_change(digits: Dataset) -> None:
    # Pinned: an accuracy is comparable with another one only on the same samples and the same pixels.
    record = describe(digits)["splits"]
    assert record == {
        "seed": 0,
        "train": {"samples": 1000, "sha256": TRAIN},
        "validation": {"samples": 200, "sha256": VALIDATION},
        "test": {"samples": 597, "sha256": TEST},
    }
    pixels = b"".join(digits.test[i][0].numpy().tobytes() for i in range(len(digits.test)))
    assert hashlib.sha256(pixels).hexdigest() == PIXELS


TRAIN = "598b21e9f1de3b04cd02819f7e12c475b83bd6990b03411da8c31680aa1fc7ce"
VALIDATION = "0d71bcb2f2211027940be637c14646930f8e71a26d9bdd272841f529b96742e0"
TEST = "4b125f63dc5322d440adbc554e72aefe70761c8c4441a4fa738b16e0a6123d5b"
PIXELS = "83be5a8f3e958b964cdba6212ef3b558bec0e354998e5bc3a41e28fdbcf0f6b0"


def test_the_splits_of_digits_are_disjoint_and_stratified(digits: Dataset) -> None:
    indices = [index for split in digits.splits().values() for index in split.indices]
    assert sorted(indices) == list(range(1797))
    for split in digits.splits().values():
        counts = Counter(split.labels)
        assert set(counts) == set(range(10))
        assert max(counts.values()) - min(counts.values()) <= 0.05 * len(split)


def test_statistics_are_those_of_the_training_pixels(digits: Dataset) -> None:
    pixels = torch.stack([digits.train[i][0] for i in range(len(digits.train))]).double() / 255
    assert digits.mean == (round(float(pixels.mean()), 4),)
    assert digits.std == (round(float(pixels.std(unbiased=False)), 4),)


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
)
def test_stratified_parts(labels: list[int], shares: tuple[float, float]) -> None:
    names = [f"sample {i}" for i in range(len(labels))]
    sizes = [int(share * len(labels)) for share in shares]
    sizes.append(len(labels) - sum(sizes))
    parts = stratified(names, labels, sizes)
    assert [len(part) for part in parts] == sizes
    assert sorted(index for part in parts for index in part) == list(range(len(labels)))
    for part, size in zip(parts, sizes, strict=True):
        for label, count in Counter(labels).items():
            here = sum(labels[index] == label for index in part)
            assert abs(here - count * size / len(labels)) <= len(set(labels))


def test_a_sample_keeps_its_part_when_the_samples_are_listed_in_another_order() -> None:
    names = [f"{i}.png" for i in range(60)]
    labels = [i % 3 for i in range(60)]
    parts = stratified(names, labels, (10, 50))
    backwards = stratified(names[::-1], labels[::-1], (10, 50))
    assert {names[i] for i in parts[0]} == {names[::-1][i] for i in backwards[0]}


# the registry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATASETS)
def test_every_name_is_known_to_the_registry(name: str, in_folder: Path) -> None:
    if name == "digits":
        assert open_dataset(name).name == name
        return
    with pytest.raises((InputError, MissingError)) as error:
        open_dataset(name)
    assert "unknown" not in str(error.value)
    assert "--data" in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("digit", {}, "unknown dataset 'digit'. Did you mean 'digits'?"),
        ("digits", {"root": "data"}, "Leave --data out"),
        ("digits", {"download": True}, "nothing to download"),
        ("cifar10", {"image_size": 64}, "size of their own"),
        ("folder", {}, "needs --data"),
        ("folder", {"root": "nowhere"}, "nowhere is not a folder"),
    ],
)
def test_what_cannot_be_opened(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        open_dataset(name, **options)
    assert said in str(error.value)


# loading --------------------------------------------------------------------------------------------------------------


def loaded(dataset: Dataset, **options: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(training_batches(dataset, **{"seed": 3, "batch_size": 20, "epochs": 2} | options))


def same(a: list[tuple[torch.Tensor, torch.Tensor]], b: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x[0], y[0]) and torch.equal(x[1], y[1]) for x, y in zip(a, b, strict=True)
    )


def test_batches_are_the_same_from_any_start_and_with_any_workers(few_digits: Dataset) -> None:
    whole = loaded(few_digits)
    assert [len(labels) for _, labels in whole] == [20] * 4
    torch.manual_seed(99)
    assert same(loaded(few_digits), whole)
    assert same(loaded(few_digits, start=(0, 1)), whole[1:])
    assert same(loaded(few_digits, start=(0, 2)), whole[2:])
    assert same(loaded(few_digits, start=(1, 1)), whole[3:])
    assert same(loaded(few_digits, workers=2), whole)


def test_epochs_and_seeds_differ(few_digits: Dataset) -> None:
    whole = loaded(few_digits)
    assert not torch.equal(whole[0][0], whole[2][0])
    assert not same(loaded(few_digits, seed=4), whole)


def test_loading_leaves_the_global_generator_alone(few_digits: Dataset) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    loaded(few_digits)
    list(evaluation_batches(few_digits.test, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_holds_whole_batches_or_all_of_a_small_set(few_digits: Dataset) -> None:
    assert [steps_per_epoch(n, 20) for n in (48, 40, 19)] == [2, 2, 1]
    assert [len(labels) for _, labels in loaded(few_digits, batch_size=100)] == [48, 48]


def test_evaluation_sees_every_sample_once_in_order_and_not_augmented(few_digits: Dataset) -> None:
    for workers in (0, 1):
        batches = list(evaluation_batches(few_digits.test, 8, workers))
        assert torch.equal(
            torch.cat([images for images, _ in batches]), torch.stack([few_digits.test[i][0] for i in range(30)])
        )
        assert torch.cat([labels for _, labels in batches]).tolist() == list(few_digits.test.labels)


# augmentation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("augment", "shape"),
    [
        (Jitter(), (1, 16, 16)),
        (SmallImages(32, (0.5, 0.4, 0.3)), (3, 32, 32)),
        (LargeImages(64), (3, 64, 64)),
    ],
)
def test_augmentations_keep_type_and_size(augment: Any, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    original = image.clone()
    torch.manual_seed(0)
    results = [augment(image) for _ in range(60)]
    assert all(result.dtype == torch.uint8 and result.shape == image.shape for result in results)
    assert len({result.numpy().tobytes() for result in results}) > 30
    assert torch.equal(image, original)


def test_rand_augment_changes_about_three_images_of_four() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    augment = RandAugment([128, 128, 128])
    torch.manual_seed(0)
    changed = sum(not torch.equal(augment(image), image) for _ in range(400))
    # 1 - 0.5^2, less the identity and the operations that change nothing on noise; 400 draws: 0.06 is three deviations.
    assert 0.55 < changed / 400 < 0.81


def test_erasing_fills_with_the_mean_colour() -> None:
    image = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    erased = [v for v in (SmallImages(32, (0.2, 0.4, 0.6))(image) for _ in range(100)) if (v == 51).any()]
    assert erased
    colours = {tuple(pixel) for pixel in erased[0].flatten(1).T.tolist()}
    assert (51, 102, 153) in colours


# CIFAR ----------------------------------------------------------------------------------------------------------------


def write_cifar(root: Path, source: Any, monkeypatch: pytest.MonkeyPatch, per_class: int) -> None:
    """Write small files in the published format, and tell torchvision their MD5 sums in place of the published ones."""
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    fine = source is CIFAR100
    names = [f"class {i}" for i in range(100 if fine else 10)]
    random = np.random.default_rng(0)

    def dump(file: str, content: dict[str, Any]) -> str:
        data = pickle.dumps(content)
        (folder / file).write_bytes(data)
        return hashlib.md5(data).hexdigest()  # noqa: S324 - torchvision compares MD5 sums

    def batch(file: str, copies: int) -> list[str]:
        labels = [label for label in range(len(names)) for _ in range(copies)]
        data = random.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        data[:, 0] = labels
        return [file, dump(file, {"data": data, "fine_labels" if fine else "labels": labels})]

    train = [batch(file, per_class) for file, _ in source.train_list]
    test = [batch(file, 1) for file, _ in source.test_list]
    key = "fine_label_names" if fine else "label_names"
    meta = source.meta | {"md5": dump(source.meta["filename"], {key: names})}
    monkeypatch.setattr(source, "train_list", train)
    monkeypatch.setattr(source, "test_list", test)
    monkeypatch.setattr(source, "meta", meta)


@pytest.mark.parametrize(
    ("name", "source", "classes", "per_class"), [("cifar10", CIFAR10, 10, 4), ("cifar100", CIFAR100, 100, 10)]
)
def test_cifar(
    name: str, source: Any, classes: int, per_class: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path, source, monkeypatch, per_class)
    dataset = open_dataset(name, tmp_path)
    total = classes * per_class * len(source.train_list)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (total * 9 // 10, total // 10, classes)
    assert set(Counter(dataset.validation.labels).values()) == {total // 10 // classes}
    assert not set(dataset.train.indices) & set(dataset.validation.indices)
    assert (len(dataset.classes), dataset.in_channels, dataset.image_size) == (classes, 3, 32)
    for split in dataset.splits().values():
        image, label = split[3]
        # The first byte of each image is its label: it is the red value of the first pixel.
        assert (image.dtype, tuple(image.shape), int(image[0, 0, 0])) == (torch.uint8, (3, 32, 32), label)
    (images, labels), *_ = training_batches(dataset, seed=0, batch_size=8, epochs=1)
    assert (tuple(images.shape), images.dtype, labels.dtype) == ((8, 3, 32, 32), torch.uint8, torch.int64)
    assert describe(reopen(describe(dataset))) == describe(dataset)


def test_missing_cifar_names_the_files_and_the_flag(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as error:
        open_dataset("cifar10", tmp_path)
    assert "cifar-10-batches-py" in str(error.value)
    assert "--download" in str(error.value)
    assert error.value.exit_code == 3


def test_a_changed_cifar_file_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, CIFAR10, monkeypatch, 4)
    victim = tmp_path / CIFAR10.base_folder / "data_batch_3"
    victim.write_bytes(victim.read_bytes()[:-7])
    with pytest.raises(MissingError, match="published files"):
        open_dataset("cifar10", tmp_path)


# folders --------------------------------------------------------------------------------------------------------------


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
    names = {part: {split.images.name(index) for index in split.indices} for part, split in dataset.splits().items()}
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
        path = tmp_path / dataset.test.images.name(index)
        seen = dataset.test.images.prepared(index)
        assert np.array_equal(seen.numpy(), read_image(path, dataset.preprocessing, spec))
        if path.name.startswith("z"):
            compared += 1
            assert len(np.unique(seen)) > 20
    assert compared == 4


def test_training_sees_images_upright(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 19)
        write_turned_jpeg(tmp_path / name / "turned", Image.new("RGB", (50, 20)))
    images = open_dataset("folder", tmp_path).train.images
    shapes = {tuple(images.original(i).shape) for i in range(len(images)) if images.name(i).endswith("turned.jpg")}
    assert shapes == {(3, 50, 20)}


def test_images_of_any_size_and_mode_come_out_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / "train" / name, 10, size=(300, 200))
        write_images(tmp_path / "test" / name, 1, size=(150, 400))
        Image.new("L", (7, 9), 100).save(tmp_path / "test" / name / "grey.png")
        Image.new("RGBA", (64, 64), (1, 2, 3, 4)).save(tmp_path / "test" / name / "clear.png")
    dataset = open_dataset("folder", tmp_path, image_size=128)
    assert dataset.preprocessing.resize == 146
    assert {tuple(dataset.test[i][0].shape) for i in range(len(dataset.test))} == {(3, 128, 128)}
    (images, _), *_ = training_batches(dataset, seed=0, batch_size=4, epochs=1)
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
    victim = tmp_path / dataset.train.images.name(dataset.train.indices[5])
    victim.write_bytes(victim.read_bytes()[:-30] if content is None else content)
    for batches in (
        training_batches(dataset, seed=0, batch_size=7, epochs=1, workers=workers),
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


def test_the_record_names_samples_not_places(digits: Dataset) -> None:
    first = describe(digits)
    swapped = dataclasses.replace(digits, test=digits.validation)
    assert describe(swapped)["splits"]["test"]["sha256"] == first["splits"]["validation"]["sha256"]
