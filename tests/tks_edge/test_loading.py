"""Batches that depend on seed, epoch and sample alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.data.dataset import Dataset, Split, Transform
from tks_edge.data.loading import evaluation_batches, steps_per_epoch, training_batches
from tks_edge.data.skipping import Skipped
from tks_edge_runtime.errors import InputError, MissingError

# From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def augmentation(dataset: Dataset) -> Transform:
    return AUGMENTATIONS["jitter"](dataset.image_size, dataset.mean)


def loaded(dataset: Dataset, **options: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(
        training_batches(dataset.train, augmentation(dataset), **{"seed": 3, "batch_size": 20, "epochs": 2} | options)
    )


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


class Colours:
    """Images of one colour each; some cannot be read."""

    def __init__(self, count: int, unreadable: set[int]) -> None:
        self._count = count
        self._unreadable = unreadable

    def __len__(self) -> int:
        return self._count

    def original(self, index: int) -> torch.Tensor:
        if index in self._unreadable:
            raise InputError(f"images/{index}.png is not an image that can be read")
        return torch.full((1, 4, 4), index, dtype=torch.uint8)

    def prepared(self, index: int) -> torch.Tensor:
        return self.original(index)

    def name(self, index: int) -> str:
        return f"images/{index}.png"


def colours(count: int, *unreadable: int) -> Split:
    """The label of an image is its colour."""
    return Split(Colours(count, set(unreadable)), range(count), range(count))


def drawn(split: Split, **options: Any) -> list[list[int]]:
    """The colours in each batch, which must be the labels."""
    settings = {"seed": 3, "batch_size": 4, "epochs": 2} | options
    batches = list(training_batches(split, lambda image: image, **settings))
    assert all(images[:, 0, 0, 0].tolist() == labels.tolist() for images, labels in batches)
    return [labels.tolist() for _, labels in batches]


def test_in_training_the_next_readable_sample_stands_in_for_a_corrupt_one() -> None:
    whole = drawn(colours(12))
    stands_in = {3: 5, 4: 5, 11: 0}
    skipped = Skipped()
    for workers in (0, 2):
        found = drawn(colours(12, 3, 4, 11), workers=workers, skipped=skipped)
        assert found == [[stands_in.get(colour, colour) for colour in batch] for batch in whole]
    assert drawn(colours(12, 3, 4, 11), start=(1, 1), skipped=skipped) == found[4:]
    assert set(skipped.reasons) == {"images/3.png", "images/4.png", "images/11.png"}
    assert str(skipped).startswith("3 samples could not be read and were left out: images/")
    assert skipped.to_json()["samples"] == 3


def test_in_evaluation_a_corrupt_sample_is_not_counted() -> None:
    for workers in (0, 2):
        skipped = Skipped()
        feed = evaluation_batches(colours(9, 0, 3, 4, 5), 3, workers, skipped=skipped)
        assert [labels.tolist() for _, labels in feed] == [[1, 2], [6, 7, 8]]
        assert list(skipped.reasons) == [f"images/{i}.png" for i in (0, 3, 4, 5)]
        assert "is not an image" in skipped.reasons["images/4.png"]


def test_the_first_skipped_samples_are_announced_one_by_one() -> None:
    said: list[str] = []
    skipped = Skipped(said.append)
    for _ in range(2):
        list(evaluation_batches(colours(9, *range(1, 9)), 3, skipped=skipped))
    assert said[0] == "left out: images/1.png is not an image that can be read"
    assert (len(said), len(skipped)) == (6, 8)
    assert "counted" in said[5]
    assert str(skipped).endswith("images/5.png, ...")


def test_without_skipping_the_first_corrupt_sample_is_an_error() -> None:
    with pytest.raises(InputError, match=r"images/3\.png"):
        drawn(colours(12, 3))
    with pytest.raises(InputError, match=r"images/3\.png"):
        list(evaluation_batches(colours(12, 3), 4))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_missing_on_this_machine_is_not_skipped(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Colours, _index: int) -> torch.Tensor:
        raise MissingError("the disk is full")

    monkeypatch.setattr(Colours, "original", full)
    with pytest.raises(MissingError, match="the disk is full"):
        drawn(colours(12), workers=workers, skipped=Skipped())
    with pytest.raises(MissingError, match="the disk is full"):
        list(evaluation_batches(colours(12), 4, workers, skipped=Skipped()))


@pytest.mark.parametrize("workers", [0, 1])
def test_where_nothing_can_be_read_nothing_is_skipped(workers: int) -> None:
    nothing = colours(6, *range(6))
    with pytest.raises(InputError, match="Nor can the 5 after it: give the right folder"):
        drawn(nothing, workers=workers, skipped=Skipped())
    with pytest.raises(InputError, match="none of the 6 samples can be read"):
        list(evaluation_batches(nothing, 4, workers, skipped=Skipped()))


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_train_on_what_one_alone_does(world: int) -> None:
    parts = [drawn(colours(13), batch_size=8, shard=(rank, world), start=(0, 0)) for rank in range(world)]
    together = [[colour for part in batch for colour in part] for batch in zip(*parts, strict=True)]
    assert together == drawn(colours(13), batch_size=8)


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    for count, batch_size in ((32, 6), (6, 8)):
        with pytest.raises(InputError, match="4 processes cannot share a batch of 6 samples evenly"):
            drawn(colours(count), batch_size=batch_size, shard=(0, 4))


def test_processes_together_evaluate_every_sample_once() -> None:
    parts = [
        [label for _, labels in evaluation_batches(colours(10).shard(rank, 4), 2) for label in labels.tolist()]
        for rank in range(4)
    ]
    assert sorted(label for part in parts for label in part) == list(range(10))
    assert {len(part) for part in parts} == {2, 3}
    assert list(evaluation_batches(colours(1).shard(1, 4), 2)) == []
