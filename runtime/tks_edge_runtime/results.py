"""What logits say: the most probable classes, how many are right, and whether they are the trained network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import Verification

Array = npt.NDArray[Any]

_TOLERANCE = 1e-4
"""Absolute, and relative to the largest golden logit: float32 sums of a few thousand terms, taken in another order on
another processor, differ by some 1e-6 of their size; a single spike decided differently moves a logit by far more."""


@dataclass(frozen=True)
class Prediction:
    """One class for one image: its name, its index, and its softmax probability."""

    label: str
    index: int
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """How many of the evaluation set's samples were classified correctly."""

    correct: int
    total: int


@dataclass(frozen=True)
class SelfTest:
    """How far the logits of the golden input are from the trained network's, and how far they may be (absolute)."""

    max_difference: float
    tolerance: float
    passed: bool


def most_probable(logits: Array, classes: Sequence[str], top_k: int) -> list[list[Prediction]]:
    """For each sample the `top_k` most probable classes, the best first.

    Args:
        logits: `[M, K]`.
        classes: the K names.
        top_k: 1 to K.
    """
    probabilities = _softmax(logits)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    return [
        [Prediction(classes[index], int(index), float(row[index])) for index in best]
        for row, best in zip(probabilities, order, strict=True)
    ]


def evaluated(logits: Array, labels: Array) -> Evaluation:
    """Count the correct top-1 predictions of logits `[M, K]` against the class indices `[M]`."""
    return Evaluation(int(np.count_nonzero(logits.argmax(axis=1) == labels)), len(labels))


def self_tested(logits: Array, expected: Array, verification: Verification | None) -> SelfTest:
    """Compare logits `[M, K]` with those that the trained network gave for the same input.

    The tolerance is that of the export's own comparison where the manifest records one that is wider, since a lower
    precision differs by more; otherwise the one of float32 arithmetic.
    """
    tolerance = _TOLERANCE * (1 + float(np.abs(expected).max()))
    if verification is not None:
        tolerance = max(tolerance, verification.logit_tolerance)
    difference = float(np.abs(logits - expected).max())
    return SelfTest(difference, tolerance, difference <= tolerance)


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return result
