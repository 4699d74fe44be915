"""`late`: cross entropy of every step, in which later steps count for more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tks_edge.losses import LossEntry, Number


def late(logits: Tensor, labels: Tensor, progress: float, *, power: float = 1.0) -> Tensor:  # noqa: ARG001
    """Cross entropy of each step, weighted by its number.

        L = sum_t w[t] CE(o[t], y),   w[t] = t^power / sum_s s^power,   t from 1 to T

    Args:
        logits: of every step, `[T, B, C]`.
        labels: int64 class indices `[B]`, or probabilities `[B, C]`.
        progress: share of the epochs that is done, 0 to 1; every loss gets it, and this one does not need it.
        power: 0 counts all steps alike.

    Returns:
        The mean over the batch, a scalar.
    """
    weights = torch.arange(1, len(logits) + 1, dtype=logits.dtype, device=logits.device) ** power
    steps = torch.stack([functional.cross_entropy(step, labels) for step in logits])
    return (weights * steps).sum() / weights.sum()


LATE = LossEntry(late, {"power": Number(0.0, 8.0)})
"""Its options, with what they may be: `--loss late --loss-option power=2`."""
