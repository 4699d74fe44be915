"""When a network is sure enough: measures of the mean of its logits so far, and the rule that compares one of them.

With p the softmax of the mean, in float64:

    confidence   max p                        0 to 1, stops at the threshold and above
    margin       max p - second largest p     0 to 1, stops at the threshold and above
    entropy      -sum p log p / log K         0 to 1, stops at the threshold and below

Sources: confidence of the running mean: Li, Geller, Kim and Panda, "SEENN: Towards Temporal Spiking Early-Exit Neural
Networks", NeurIPS 2023. Its normalised entropy: Li, Moitra, Geller and Panda, "Input-Aware Dynamic Timestep Spiking
Neural Networks for Efficient In-Memory Computing" (DT-SNN), DAC 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.errors import InputError, unknown

Array = npt.NDArray[Any]
CONFIDENCE, MARGIN, ENTROPY = "confidence", "margin", "entropy"
MEASURES = (CONFIDENCE, ENTROPY, MARGIN)

FEW_CLASSES = 32
"""Up to about here Python's own arithmetic measures one sample faster than NumPy."""


def mean_steps(stopped: Sequence[int]) -> float:
    """Timesteps a sample, on average, where `stopped[t - 1]` of them stopped at step t; at least one did."""
    return sum(t * count for t, count in enumerate(stopped, start=1)) / sum(stopped)


@dataclass(frozen=True)
class ExitRule:
    """Stop as soon as a measure of the mean of the logits passes a threshold.

    Attributes:
        measure: one of `MEASURES`.
        threshold: 0 to 1.

    Raises:
        InputError: there is no such measure, or the threshold is out of range.
    """

    measure: str
    threshold: float

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise unknown("measure", self.measure, MEASURES)
        if not 0 <= self.threshold <= 1:
            raise InputError(f"the threshold of {self.measure} is {self.threshold}; allowed is 0 to 1.")

    def __str__(self) -> str:
        return f"{self.measure} {'<=' if self.measure == ENTROPY else '>='} {self.threshold:.6g}"

    def passes(self, means: Array) -> Array:
        """Which of several samples may stop: bool `[...]` of the means `[..., K]` of their logits."""
        found: Array = certainty(self.measure, means) >= self._least
        return found

    def passes_one(self, mean: Array) -> bool:
        """Whether one sample may stop, by the mean `[K]` of its logits: `passes`, quickly."""
        if len(mean) > FEW_CLASSES:
            return bool(self.passes(mean))
        return _QUICK[self.measure](mean.tolist()) >= self._least

    @property
    def _least(self) -> float:
        return -self.threshold if self.measure == ENTROPY else self.threshold


def certainty(measure: str, means: Array) -> Array:
    """A measure of `[..., K]` means of logits, float64 `[...]`: the larger, the surer, so entropy is negative.

    Args:
        measure: one of `MEASURES`.
        means: K is 2 or more.
    """
    shifted = means.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    weights = np.exp(shifted)
    total = weights.sum(axis=-1)
    result: Array
    if measure == CONFIDENCE:
        result = 1 / total
    elif measure == MARGIN:
        weights.partition(-2, axis=-1)
        result = (1 - weights[..., -2]) / total
    else:
        shifted *= weights
        negative = (shifted.sum(axis=-1) / total - np.log(total)) / math.log(means.shape[-1])
        # Where all classes are alike, rounding may lead beyond.
        result = np.maximum(negative, -1.0)
    return result


def _confidence(row: Sequence[float]) -> float:
    top = max(row)
    return 1 / sum([math.exp(value - top) for value in row])


def _margin(row: Sequence[float]) -> float:
    second, top = sorted(row)[-2:]
    return (1 - math.exp(second - top)) / sum([math.exp(value - top) for value in row])


def _negative_entropy(row: Sequence[float]) -> float:
    top = max(row)
    shifted = [value - top for value in row]
    weights = [math.exp(value) for value in shifted]
    total = sum(weights)
    weighted = sum([value * weight for value, weight in zip(shifted, weights, strict=True)])
    return max(-1.0, (weighted / total - math.log(total)) / math.log(len(row)))


_QUICK = {CONFIDENCE: _confidence, MARGIN: _margin, ENTROPY: _negative_entropy}
