"""Losses in which the steps that classify a sample rightly teach the others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tks_edge.losses.labels import checked_hard_labels


def tks(
    logits: Tensor,
    labels: Tensor,
    progress: float,
    *,
    tau: float = 3.0,
    alpha: float = 0.7,
    reduce: str = "mean",
    detach: bool = True,
    none_correct: str = "uniform",
    student_temperature: str = "1",
) -> Tensor:
    """Temporal knowledge sharing: the steps that classify a sample rightly teach every step.

        m[t] = 1 if argmax o[t] = y else 0                        per sample, each step alone
        z    = sum_t m[t] o[t], over sum_t m[t] with reduce=mean  0 when no step is right
        q    = softmax(z / tau)
        L_KD = (1/T) sum_t tau^2 (- sum_c q_c log softmax(o[t] / s)_c)
        L    = (1 - lam) CE(mean_t o[t], y) + lam L_KD,           lam = alpha progress

    Source: Dong, Zhao, Zeng, arXiv 2304.06540; the authors' code is `tks_published`. Averaging over the correct steps
    (the default here) keeps the teacher's temperature at tau whatever T.

    Args:
        logits: `[T, B, C]`.
        labels: `[B]`.
        progress: share of the epochs that is done, 0..1.
        tau: temperature of the teacher.
        alpha: the weight of L_KD at the end of training, 0..1.
        reduce: "mean" or "sum" of the correct steps' logits.
        detach: whether no gradient flows into the teacher.
        none_correct: what teaches a sample that no step classifies rightly: "uniform", the uniform distribution, or
            "skip", nothing: its L_KD is 0.
        student_temperature: s, "1" or "tau".
    """
    labels = checked_hard_labels(logits, labels)
    correct = (logits.argmax(-1) == labels).to(logits.dtype).unsqueeze(-1)
    count = correct.sum(0)
    teacher = (correct * logits).sum(0)
    if reduce == "mean":
        teacher = teacher / count.clamp(min=1.0)
    shared = torch.softmax(teacher / tau, dim=-1)
    if detach:
        shared = shared.detach()
    student = torch.log_softmax(logits / (tau if student_temperature == "tau" else 1.0), dim=-1)
    per_sample = -(shared * student).sum(-1).mean(0) * tau**2
    if none_correct == "skip":
        per_sample = per_sample * (count.squeeze(-1) > 0)
    lam = alpha * progress
    return (1.0 - lam) * functional.cross_entropy(logits.mean(0), labels) + lam * per_sample.mean()


def tks_published(logits: Tensor, labels: Tensor, progress: float, *, tau: float = 3.0, alpha: float = 0.7) -> Tensor:
    """TKS as in the authors' code: the sum of the correct steps teaches, and gradients flow into the teacher."""
    return tks(logits, labels, progress, tau=tau, alpha=alpha, reduce="sum", detach=False)
