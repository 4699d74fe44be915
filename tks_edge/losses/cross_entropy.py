"""Losses that compare what the steps say with the label alone."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from tks_edge.losses.labels import checked_labels


def mean(logits: Tensor, labels: Tensor, progress: float) -> Tensor:  # noqa: ARG001 - one signature for every loss
    """Cross entropy of the mean output over T: the usual baseline, and the loss of the ReLU twin."""
    return functional.cross_entropy(logits.mean(0), checked_labels(logits, labels))


def tet(
    logits: Tensor,
    labels: Tensor,
    progress: float,  # noqa: ARG001 - one signature for every loss
    *,
    lam: float = 1e-3,
    target: float = 1.0,
) -> Tensor:
    """Temporal efficient training: the cross entropy of each step, and a pull of every logit to a constant.

        L = (1 - lam) (1/T) sum_t CE(o[t], y) + lam (1/T) sum_t MSE(o[t], target)

    Source: Deng et al., ICLR 2022, arXiv 2202.11946; `lam` and `target` are the defaults of the authors' code.
    """
    labels = checked_labels(logits, labels)
    every_step = labels.expand(len(logits), *labels.shape)
    per_step = functional.cross_entropy(logits.flatten(0, 1), every_step.flatten(0, 1))
    spread = (logits - target).square().mean()
    return (1.0 - lam) * per_step + lam * spread
