"""The losses against their equations in plain Python numbers, their gradients, and what they must not depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.tks_edge.loss_numbers import (
    LABELS,
    LOGITS,
    B,
    C,
    Row,
    T,
    batches,
    ce_of_mean,
    close,
    cross_entropy,
    labels,
    logits,
    one_hot,
    softmax,
)
from tks_edge.losses import LOSSES, create_loss, mean, parse_options, permits_soft_labels, tet, tks, tks_published
from tks_edge_runtime.errors import InputError


def kd(teachers: Sequence[Row | None], tau: float, student: float = 1.0) -> float:
    """L_KD for given teacher logits, one row a sample; None: the sample has no teacher."""
    total = 0.0
    for b, teacher in enumerate(teachers):
        if teacher is None:
            continue
        q = softmax([z / tau for z in teacher])
        total += sum(tau**2 * cross_entropy([v / student for v in LOGITS[t][b]], q) for t in range(T)) / T
    return total / B


SUM = [6.0, 1.0, -2.0]  # steps 0 and 2 of sample 0
MEAN = [3.0, 0.5, -1.0]
NONE = [0.0, 0.0, 0.0]


def test_mean_is_the_cross_entropy_of_the_mean_output() -> None:
    assert close(mean(logits(), labels(), 0.3), ce_of_mean())


def test_tet_is_the_mean_cross_entropy_of_the_steps_and_the_pull_to_a_constant() -> None:
    per_step = sum(cross_entropy(LOGITS[t][b], one_hot(LABELS[b])) for t in range(T) for b in range(B)) / (T * B)
    spread = sum((LOGITS[t][b][c] - 1.0) ** 2 for t in range(T) for b in range(B) for c in range(C)) / (T * B * C)
    assert close(tet(logits(), labels(), 0.0), 0.999 * per_step + 0.001 * spread)
    assert close(tet(logits(), labels(), 0.9, lam=0.25), 0.75 * per_step + 0.25 * spread)
    other = sum((LOGITS[t][b][c] + 2.0) ** 2 for t in range(T) for b in range(B) for c in range(C)) / (T * B * C)
    assert close(tet(logits(), labels(), 0.0, lam=1.0, target=-2.0), other)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_tks_averages_the_correct_steps(progress: float) -> None:
    lam = 0.7 * progress
    expected = (1 - lam) * ce_of_mean() + lam * kd([MEAN, NONE], tau=3.0)
    assert close(tks(logits(), labels(), progress), expected)


def test_tks_published_sums_the_correct_steps() -> None:
    expected = 0.3 * ce_of_mean() + 0.7 * kd([SUM, NONE], tau=3.0)
    assert close(tks_published(logits(), labels(), 1.0), expected)
    assert close(tks(logits(), labels(), 1.0, reduce="sum", detach=False), expected)


def test_tks_switches() -> None:
    half = 0.5 * ce_of_mean()
    assert close(tks(logits(), labels(), 0.5, alpha=1.0, none_correct="skip"), half + 0.5 * kd([MEAN, None], 3.0))
    assert close(
        tks(logits(), labels(), 0.5, alpha=1.0, tau=2.0, student_temperature="tau"),
        half + 0.5 * kd([MEAN, NONE], 2.0, student=2.0),
    )


def test_tks_teaches_the_uniform_distribution_where_no_step_is_right() -> None:
    only = logits()[:, 1:]
    uniform = 9.0 * sum(cross_entropy(LOGITS[t][1], [1 / 3] * 3) for t in range(T)) / T
    assert close(tks(only, labels()[1:], 1.0, alpha=1.0), uniform)
    assert float(tks(only, labels()[1:], 1.0, alpha=1.0, none_correct="skip")) == 0.0


def test_detach_stops_the_gradient_of_the_teacher_and_nothing_else() -> None:
    def gradient(detach: bool) -> Tensor:
        x = logits().requires_grad_()
        loss = tks(x, labels(), 1.0, alpha=1.0, none_correct="skip", detach=detach)
        return torch.autograd.grad(loss, x)[0]

    # With a fixed teacher q the gradient of cross entropy is softmax - q: tau^2 / (T B) of it at each step.
    q = torch.softmax(torch.tensor(MEAN, dtype=torch.float64) / 3.0, -1)
    expected = 9.0 / (T * B) * (torch.softmax(logits()[:, 0], -1) - q)
    assert torch.allclose(gradient(True)[:, 0], expected, atol=1e-14)
    assert not torch.allclose(gradient(False)[0, 0], expected[0])
    # Step 1 of sample 0 is wrong, so it is no part of the teacher either way.
    assert torch.allclose(gradient(False)[1, 0], expected[1], atol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    # Seeded so that no two logits are near a tie: there the mask of correct steps jumps. A detached teacher is a
    # constant to autograd and not to finite differences, so gradcheck gets the loss in which it is not detached.
    x = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.tensor([0, 3, 4])
    detaches = "detach" in parse_options(name, [])
    loss = create_loss(name, parse_options(name, ["detach=no"] if detaches else []))
    assert torch.autograd.gradcheck(lambda v: loss(v, y, 0.5), (x,))


VARIANTS = [
    ("mean", []),
    ("tet", []),
    ("tks", []),
    ("tks", ["reduce=sum", "none_correct=skip"]),
    ("tks", ["student_temperature=tau", "detach=no"]),
    ("tks-published", []),
    ("etc", []),
    ("s2w", ["select=sample"]),
    ("w2s", ["select=sample", "tau=1"]),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_a_batch_is_the_mean_of_its_samples(name: str, options: list[str], batch: tuple[Tensor, Tensor, float]) -> None:
    x, y, progress = batch
    loss = create_loss(name, parse_options(name, options))
    alone = [float(loss(x[:, b : b + 1], y[b : b + 1], progress)) for b in range(len(y))]
    assert math.isclose(float(loss(x, y, progress)), sum(alone) / len(alone), rel_tol=1e-9)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@settings(max_examples=25, deadline=None)
@given(batch=batches(), data=st.data())
def test_the_order_of_samples_and_of_steps_is_irrelevant(
    name: str, options: list[str], batch: tuple[Tensor, Tensor, float], data: st.DataObject
) -> None:
    x, y, progress = batch
    samples = data.draw(st.permutations(range(x.shape[1])))
    steps = data.draw(st.permutations(range(x.shape[0])))
    loss = create_loss(name, parse_options(name, options))
    shuffled = loss(x[steps][:, samples], y[samples], progress)
    assert math.isclose(float(loss(x, y, progress)), float(shuffled), rel_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(batch=batches())
def test_tks_begins_as_the_mean_loss(batch: tuple[Tensor, Tensor, float]) -> None:
    x, y, _ = batch
    assert torch.equal(tks(x, y, 0.0), mean(x, y, 0.0))


def test_options_are_the_defaults_changed_by_what_is_given() -> None:
    assert parse_options("tks", []) == {
        "tau": 3.0,
        "alpha": 0.7,
        "reduce": "mean",
        "detach": True,
        "none_correct": "uniform",
        "student_temperature": "1",
    }
    assert parse_options("tks", ["tau=4", "detach=no"])["detach"] is False
    assert parse_options("tks-published", ["alpha=0.5"]) == {"tau": 3.0, "alpha": 0.5}
    assert parse_options("mean", []) == {}


@pytest.mark.parametrize(
    ("name", "assignment", "said"),
    [
        ("tsk", "tau=3", "unknown loss 'tsk'. Did you mean 'tks'?"),
        ("tks", "reduc=sum", "unknown option of the loss 'tks': 'reduc'. Did you mean 'reduce'?"),
        ("tks-published", "reduce=sum", "Allowed: alpha, tau."),
        ("mean", "tau=3", "has no options"),
        ("tks", "tau", "not of the form key=value"),
        ("tks", "tau=0", "at least 0.01"),
        ("tks", "tau=nan", "at least 0.01"),
        ("tks", "alpha=1.5", "at least 0 and at most 1"),
        ("tks", "reduce=median", "mean or sum"),
        ("tks", "detach=True", "yes or no"),
        ("tet", "target=inf", "a number"),
    ],
)
def test_bad_options_say_what_is_allowed(name: str, assignment: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        parse_options(name, [assignment])
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["tks", "tks-published"])
def test_a_loss_that_asks_which_step_is_right_refuses_soft_labels(name: str) -> None:
    assert not permits_soft_labels(name)
    loss = create_loss(name, parse_options(name, []))
    with pytest.raises(InputError, match=r"hard labels .*mixup, label smoothing"):
        loss(logits(), torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), 0.5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "bad",
    [torch.tensor([0.0, 1.0]), torch.tensor([0]), torch.tensor([[0, 0, 1], [1, 0, 0]]), torch.full((2, 4), 0.25)],
    ids=["float indices", "another batch", "integers as probabilities", "another number of classes"],
)
def test_labels_of_another_shape_are_refused(name: str, bad: Tensor) -> None:
    loss = create_loss(name, parse_options(name, []))
    with pytest.raises(InputError, match="labels"):
        loss(logits(), bad, 0.5)


@pytest.mark.parametrize("name", [name for name in LOSSES if permits_soft_labels(name)])
@settings(max_examples=25, deadline=None)
@given(batch=batches(), share=st.floats(0.0, 1.0))
def test_soft_labels_weigh_what_hard_ones_cost(name: str, batch: tuple[Tensor, Tensor, float], share: float) -> None:
    """Cross entropy is linear in the label, and nothing else in these losses looks at it."""
    x, y, progress = batch
    loss = create_loss(name, parse_options(name, []))
    other = (y + 1) % x.shape[2]
    first, second = (functional.one_hot(label, x.shape[2]).double() for label in (y, other))
    assert math.isclose(float(loss(x, first, progress)), float(loss(x, y, progress)), rel_tol=1e-12)
    mixed = loss(x, share * first + (1 - share) * second, progress)
    expected = share * loss(x, y, progress) + (1 - share) * loss(x, other, progress)
    assert math.isclose(float(mixed), float(expected), rel_tol=1e-9)


@pytest.mark.parametrize("name", [name for name in LOSSES if permits_soft_labels(name)])
def test_soft_labels_may_be_of_another_precision_than_the_logits(name: str) -> None:
    loss = create_loss(name, parse_options(name, []))
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    assert torch.equal(loss(logits(), soft, 0.5), loss(logits(), soft.double(), 0.5))
    assert loss(logits().float(), soft.double(), 0.5).dtype == torch.float32


def test_an_option_that_a_loss_lacks_is_refused_in_python_too() -> None:
    with pytest.raises(InputError, match="unknown option"):
        create_loss("tet", {"tau": 3.0})
