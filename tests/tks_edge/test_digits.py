"""The digits: real, and in fixed, disjoint, stratified splits."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import describe
from tks_edge.data.splits import stratified
from tks_edge.data.uci_digits import uci_digits


def test_digits_are_real_digits_at_sixteen_pixels(digits: Dataset) -> None:
    image, label = digits.train[0]
    assert (image.dtype, tuple(image.shape), label in range(10)) == (torch.uint8, (1, 16, 16), True)
    every = torch.stack([split[i][0] for split in digits.splits().values() for i in range(len(split))])
    assert len(every) == 1797
    assert (int(every.min()), int(every.max())) == (0, 255)
    assert digits.classes == tuple("0123456789")


@pytest.mark.parametrize("where_it_was", [True, False])
def test_the_originals_are_those_that_scikit_learn_gives(monkeypatch: pytest.MonkeyPatch, where_it_was: bool) -> None:
    if not where_it_was:
        monkeypatch.setattr("tks_edge.data.uci_digits.find_spec", lambda _: None)
    images, labels = uci_digits()
    expected = load_digits()
    assert np.array_equal(images, expected.images)
    assert labels == expected.target.tolist()


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
