"""Label smoothing and mixup: by hand, as torch's own, and what they must not change."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tks_edge.losses import mean
from tks_edge.soft_labels import Mixture, probabilities, smoothed


def test_smoothing_gives_a_share_to_all_classes_alike() -> None:
    found = smoothed(probabilities(torch.tensor([0, 2]), 4), 0.2)
    assert torch.allclose(found, torch.tensor([[0.85, 0.05, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05]]))
    assert found.dtype == torch.float32
    assert torch.equal(smoothed(probabilities(torch.tensor([1]), 3), 0.0), torch.tensor([[0.0, 1.0, 0.0]]))


def test_smoothing_is_that_of_torch_s_cross_entropy() -> None:
    logits = torch.randn(3, 5, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 9, 3, 3, 1])
    expected = functional.cross_entropy(logits.mean(0), labels, label_smoothing=0.1)
    assert torch.allclose(mean(logits, smoothed(probabilities(labels, 10), 0.1), 0.0), expected, rtol=1e-5)


def test_a_mixture_by_hand() -> None:
    mixture = Mixture(0.75, torch.tensor([2, 0, 1]))
    images = torch.tensor([[0, 255], [100, 8], [40, 0]], dtype=torch.uint8)
    assert mixture.of(images).tolist() == [[10.0, 191.25], [75.0, 69.75], [55.0, 2.0]]
    labels = probabilities(torch.tensor([0, 1, 1]), 2)
    assert mixture.of(labels).tolist() == [[0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]


def test_frames_are_mixed_whole_whichever_axis_is_the_batch() -> None:
    frames = torch.rand(4, 3, 2, 5, 5) * 255
    mixture = Mixture(0.6, torch.tensor([1, 2, 0]))
    over_time = mixture.of(frames, axis=1)
    assert torch.equal(over_time, mixture.of(frames.transpose(0, 1)).transpose(0, 1))
    assert torch.equal(over_time[2], mixture.of(frames[2]))


@settings(max_examples=50, deadline=None)
@given(
    samples=st.integers(1, 9),
    alpha=st.sampled_from([0.01, 0.2, 1.0, 100.0]),
    seed=st.integers(0, 2**31),
)
def test_what_a_mixture_keeps(samples: int, alpha: float, seed: int) -> None:
    torch.manual_seed(seed)
    mixture = Mixture.draw(samples, alpha)
    assert 0.5 <= mixture.share <= 1.0
    assert sorted(mixture.partners.tolist()) == list(range(samples))
    images = torch.randint(0, 256, (samples, 1, 3, 3), dtype=torch.uint8)
    mixed = mixture.of(images)
    assert mixed.dtype == torch.float32
    assert 0.0 <= float(mixed.min()) <= float(mixed.max()) <= 255.0
    # Each pixel goes once with `share` and once with the rest into the batch.
    assert torch.allclose(mixed.sum(0), images.float().sum(0), rtol=1e-4)
    labels = torch.randint(3, (samples,))
    soft = mixture.of(smoothed(probabilities(labels, 3), 0.1))
    assert torch.allclose(soft.sum(1), torch.ones(samples), atol=1e-6)
    # Of two equal shares neither is the likelier.
    if mixture.share > 0.501:
        assert torch.equal(soft.argmax(1), labels)


def test_equal_samples_stay_as_they_are() -> None:
    images = torch.rand(1, 1, 16, 16).expand(2, 1, 16, 16)
    assert torch.equal(Mixture(0.7, torch.tensor([1, 0])).of(images), images)


def test_a_draw_comes_from_torch_s_generator_and_from_beta() -> None:
    torch.manual_seed(7)
    first, then = Mixture.draw(6, 0.4), Mixture.draw(6, 0.4)
    torch.manual_seed(7)
    again = Mixture.draw(6, 0.4)
    assert again.share == first.share
    assert torch.equal(again.partners, first.partners)
    assert then.share != first.share
    shares = torch.tensor([Mixture.draw(1, 1.0).share for _ in range(2000)])
    # Beta(1, 1) is uniform, and its greater part uniform over 0.5..1; 0.0032 is the standard error of this mean.
    assert float(shares.mean()) == pytest.approx(0.75, abs=0.02)
    assert float(shares.std()) == pytest.approx(0.5 / 12**0.5, abs=0.01)
