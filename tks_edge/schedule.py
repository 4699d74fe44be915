"""The learning rate of every step: a linear warm-up, then half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

START, END = 1e-6, 1e-5
"""The learning rates that the warm-up starts from and the cosine ends at: those of the TKS authors' code."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of the step.

    Attributes:
        peak: the learning rate after the warm-up.
        warmup: steps in which it rises to the peak.
        total: steps of the whole training.
    """

    peak: float
    warmup: int
    total: int

    def __call__(self, step: int) -> float:
        """The learning rate of `step`, 0 to `total` - 1."""
        if step < self.warmup:
            return START + (self.peak - START) * step / self.warmup
        share = (step - self.warmup) / max(1, self.total - self.warmup)
        # A peak below END stays where it is: a schedule never rises after its warm-up.
        end = min(END, self.peak)
        return end + (self.peak - end) * 0.5 * (1.0 + math.cos(math.pi * share))
