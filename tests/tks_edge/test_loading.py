"""Batches that depend on seed, epoch and sample alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.data.dataset import Dataset, Transform
from tks_edge.data.loading import evaluation_batches, steps_per_epoch, training_batches

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
