"""A small batch of logits, and what the losses are made of, in plain Python numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

# T=3, B=2, C=3. Sample 0 (label 0) is right at steps 0 and 2; sample 1 (label 2) at no step.
LOGITS = [
    [[2.0, 1.0, 0.0], [1.0, 0.5, 0.0]],
    [[0.0, 3.0, 1.0], [2.0, 0.0, -1.0]],
    [[4.0, 0.0, -2.0], [0.0, 1.5, 0.5]],
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


def kl(teacher: Row, student: Row, tau: float) -> float:
    """tau^2 KL of the softened distributions of two rows of logits."""
    q, p = softmax([z / tau for z in teacher]), softmax([z / tau for z in student])
    return tau**2 * sum(a * math.log(a / b) for a, b in zip(q, p, strict=True))


def logits() -> Tensor:
    return torch.tensor(LOGITS, dtype=torch.float64)


def labels() -> Tensor:
    return torch.tensor(LABELS)


def close(value: Tensor, expected: float) -> bool:
    return math.isclose(float(value), expected, rel_tol=1e-12)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, float]:
    steps, samples, classes = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(steps, samples, classes, dtype=torch.float64, generator=generator) * 3
    y = torch.randint(classes, (samples,), generator=generator)
    return x, y, draw(st.floats(0.0, 1.0))
