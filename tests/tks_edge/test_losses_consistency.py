"""Losses in which the steps teach each other: their equations in plain Python numbers, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.tks_edge.loss_numbers import (
    LOGITS,
    B,
    T,
    batches,
    ce_of_mean,
    close,
    kl,
    labels,
    logits,
    softmax,
)
from tks_edge.losses import create_loss, divergence, etc, mean, parse_options, s2w, w2s

# By the greatest probability of each step, sample by sample: sample 0 is surest at step 2 and least sure at step 0;
# sample 1 at step 1, and at step 0. Means over the two samples: 0.586, 0.844 and 0.804.
STRONGEST, WEAKEST = (2, 1), (0, 0)
BATCH_STRONGEST, BATCH_WEAKEST = 1, 0


def test_divergence_is_the_softened_kl_of_teacher_and_student() -> None:
    student, teacher = torch.tensor(LOGITS[0][0]).double(), torch.tensor(LOGITS[1][0]).double()
    assert close(divergence(student, teacher, 3.0), kl(LOGITS[1][0], LOGITS[0][0], 3.0))
    assert float(divergence(student, student, 3.0)) == 0.0


def test_divergence_has_one_value_for_each_leading_index_and_broadcasts_the_teacher() -> None:
    found = divergence(logits(), logits()[2], 2.0)
    assert found.shape == (T, B)
    for t in range(T):
        for b in range(B):
            assert math.isclose(float(found[t, b]), kl(LOGITS[2][b], LOGITS[t][b], 2.0), rel_tol=1e-9, abs_tol=1e-15)


def test_etc_is_the_mean_divergence_of_all_pairs_of_steps() -> None:
    def pairs(tau: float) -> float:
        every = [kl(LOGITS[j][b], LOGITS[i][b], tau) for b in range(B) for i in range(T) for j in range(T) if i != j]
        return sum(every) / (B * T * (T - 1))

    assert close(etc(logits(), labels(), 0.3), ce_of_mean() + pairs(4.0))
    assert close(etc(logits(), labels(), 0.3, tau=1.5, weight=0.25), ce_of_mean() + 0.25 * pairs(1.5))
    assert close(etc(logits(), labels(), 0.3, detach=False), ce_of_mean() + pairs(4.0))


def test_the_gradient_of_etc_pulls_a_step_to_the_others_and_no_teacher_moves() -> None:
    tau = 4.0
    x = logits().requires_grad_()
    found = torch.autograd.grad(etc(x, labels(), 0.0, tau=tau) - mean(x, labels(), 0.0), x)[0]
    # d/do of tau^2 KL(q || softmax(o / tau)) is tau (softmax(o / tau) - q) for a q that is held still.
    for b in range(B):
        p = [torch.tensor(softmax([z / tau for z in LOGITS[t][b]]), dtype=torch.float64) for t in range(T)]
        for i in range(T):
            pulls = sum((tau * (p[i] - p[j]) for j in range(T) if j != i), torch.zeros(3, dtype=torch.float64))
            assert torch.allclose(found[i, b], pulls / (T * (T - 1) * B), rtol=1e-10, atol=1e-15)


def test_the_batch_has_one_strongest_and_one_weakest_step() -> None:
    confidence = [sum(max(softmax(LOGITS[t][b])) for b in range(B)) / B for t in range(T)]
    assert (confidence.index(max(confidence)), confidence.index(min(confidence))) == (BATCH_STRONGEST, BATCH_WEAKEST)
    strong, weak = LOGITS[BATCH_STRONGEST], LOGITS[BATCH_WEAKEST]
    to_weak = sum(kl(strong[b], weak[b], 2.0) for b in range(B)) / B
    to_strong = sum(kl(weak[b], strong[b], 2.0) for b in range(B)) / B
    assert close(s2w(logits(), labels(), 0.3), ce_of_mean() + to_weak)
    assert close(w2s(logits(), labels(), 0.3), ce_of_mean() + to_strong)
    assert close(s2w(logits(), labels(), 0.3, weight=0.5), ce_of_mean() + 0.5 * to_weak)
    assert close(w2s(logits(), labels(), 0.3, weight=0.0), ce_of_mean())


def test_or_each_sample_has_its_own() -> None:
    for b in range(B):
        confidence = [max(softmax(LOGITS[t][b])) for t in range(T)]
        assert (confidence.index(max(confidence)), confidence.index(min(confidence))) == (STRONGEST[b], WEAKEST[b])
    pairs = [(LOGITS[STRONGEST[b]][b], LOGITS[WEAKEST[b]][b]) for b in range(B)]
    to_weak = sum(kl(strong, weak, 3.0) for strong, weak in pairs) / B
    to_strong = sum(kl(weak, strong, 3.0) for strong, weak in pairs) / B
    assert close(s2w(logits(), labels(), 0.3, tau=3.0, select="sample"), ce_of_mean() + to_weak)
    assert close(w2s(logits(), labels(), 0.3, tau=3.0, select="sample"), ce_of_mean() + to_strong)


@pytest.mark.parametrize(("loss", "teacher", "student"), [(s2w, 1, 0), (w2s, 0, 1)])
def test_detach_holds_the_teaching_step_still(loss: Callable[..., Tensor], teacher: int, student: int) -> None:
    def gradient(detach: bool) -> Tensor:
        x = logits().requires_grad_()
        return torch.autograd.grad(loss(x, labels(), 0.0, detach=detach) - mean(x, labels(), 0.0), x)[0]

    held, free = gradient(True), gradient(False)
    assert torch.allclose(held[teacher], torch.zeros(B, 3, dtype=torch.float64), atol=1e-15)
    assert free[teacher].abs().max() > 0.01
    softened = torch.softmax(logits() / 2.0, -1)
    expected = 2.0 * (softened[student] - softened[teacher]) / B
    assert torch.allclose(held[student], expected, atol=1e-14)
    assert torch.allclose(free[student], expected, atol=1e-14)
    assert torch.allclose(held[2], torch.zeros(B, 3, dtype=torch.float64), atol=1e-15)


CONSISTENCY = [("etc", []), ("s2w", []), ("w2s", []), ("s2w", ["select=sample", "detach=yes"])]


@pytest.mark.parametrize(("name", "options"), CONSISTENCY)
@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_one_step_has_nobody_to_learn_from(name: str, options: list[str], batch: tuple[Tensor, Tensor, float]) -> None:
    x, y, progress = batch
    loss = create_loss(name, parse_options(name, options))
    assert torch.equal(loss(x[:1], y, progress), mean(x[:1], y, progress))


@pytest.mark.parametrize(("name", "options"), CONSISTENCY)
@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_steps_that_agree_cost_nothing_and_those_that_do_not_cost_something(
    name: str, options: list[str], batch: tuple[Tensor, Tensor, float]
) -> None:
    x, y, progress = batch
    loss = create_loss(name, parse_options(name, options))
    same = x[:1].expand(len(x), *x.shape[1:])
    assert math.isclose(float(loss(same, y, progress)), float(mean(same, y, progress)), rel_tol=1e-9, abs_tol=1e-12)
    assert float(loss(x, y, progress)) >= float(mean(x, y, progress)) - 1e-9


@pytest.mark.parametrize("name", ["etc", "s2w", "w2s"])
@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_a_constant_added_to_the_logits_of_a_step_changes_nothing(
    name: str, batch: tuple[Tensor, Tensor, float]
) -> None:
    """A softmax does not see it; nor does the cross entropy of the mean."""
    x, y, progress = batch
    loss = create_loss(name, parse_options(name, []))
    raised = x + torch.arange(len(x), dtype=x.dtype).reshape(-1, 1, 1)
    assert math.isclose(float(loss(raised, y, progress)), float(loss(x, y, progress)), rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_the_batch_s_steps_are_selected_whatever_the_order(batch: tuple[Tensor, Tensor, float]) -> None:
    x, y, progress = batch
    for loss in (s2w, w2s):
        turned = loss(x.flip(0).flip(1), y.flip(0), progress)
        assert math.isclose(float(loss(x, y, progress)), float(turned), rel_tol=1e-9)
