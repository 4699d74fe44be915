"""The losses against their equations in plain Python numbers, their gradients, and what they must not depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tks_edge.losses import LOSSES, create_loss, mean, parse_options, tet, tks, tks_published
from tks_edge_runtime.errors import InputError

# T=3, B=2, C=3. Sample 0 (label 0) is right at steps 0 and 2; sample 1 (label 2) at no step.
LOGITS = [
    [[2.0, 1.0, 0.0], [1.0, 0.5, 0.0]],
    [[0.0, 3.0, 1.0], [2.0, 0.0, -1.0]],
    [[4.0, 0.0, -2.0], [0.0, 1.0, 0.5]],
]
LABELS = [0, 2]
T, B, C = 3, 2, 3

Row = Sequence[float]


def softmax(row: Row) -> list[float]:
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def cross_entropy(row: Row, target: Row) -> float:
    return -sum(q * math.log(p) for q, p in zip(target, softmax(row), strict=True))


def one_hot(label: int) -> list[float]:
    return [float(c == label) for c in range(C)]


def mean_over_steps(sample: int) -> list[float]:
    return [sum(LOGITS[t][sample][c] for t in range(T)) / T for c in range(C)]


def ce_of_mean() -> float:
    return sum(cross_entropy(mean_over_steps(b), one_hot(LABELS[b])) for b in range(B)) / B


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


def logits() -> Tensor:
    return torch.tensor(LOGITS, dtype=torch.float64)


def labels() -> Tensor:
    return torch.tensor(LABELS)


def close(value: Tensor, expected: float) -> bool:
    return math.isclose(float(value), expected, rel_tol=1e-12)


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
    # Seeded so that no two logits are near a tie: there the mask of correct steps jumps. The detached teacher is a
    # constant to autograd and not to finite differences, so gradcheck gets the loss in which it is not detached.
    x = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.tensor([0, 3, 4])
    options = parse_options(name, ["detach=no"] if name == "tks" else [])
    loss = create_loss(name, options)
    assert torch.autograd.gradcheck(lambda v: loss(v, y, 0.5), (x,))


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, float]:
    steps, samples, classes = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(steps, samples, classes, dtype=torch.float64, generator=generator) * 3
    y = torch.randint(classes, (samples,), generator=generator)
    return x, y, draw(st.floats(0.0, 1.0))


VARIANTS = [
    ("mean", []),
    ("tet", []),
    ("tks", []),
    ("tks", ["reduce=sum", "none_correct=skip"]),
    ("tks", ["student_temperature=tau", "detach=no"]),
    ("tks-published", []),
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


@pytest.mark.parametrize("name", LOSSES)
def test_soft_labels_are_refused(name: str) -> None:
    loss = create_loss(name, parse_options(name, []))
    with pytest.raises(InputError, match="hard labels"):
        loss(logits(), torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), 0.5)
    with pytest.raises(InputError, match="hard labels"):
        loss(logits(), torch.tensor([0.0, 1.0]), 0.5)


def test_an_option_that_a_loss_lacks_is_refused_in_python_too() -> None:
    with pytest.raises(InputError, match="unknown option"):
        create_loss("tet", {"tau": 3.0})
