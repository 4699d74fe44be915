"""Losses in which the steps of a sequence teach each other, whatever the label says."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tks_edge.losses.divergence import divergence
from tks_edge.losses.labels import checked_labels


def etc(
    logits: Tensor,
    labels: Tensor,
    progress: float,  # noqa: ARG001 - one signature for every loss
    *,
    tau: float = 4.0,
    weight: float = 1.0,
    detach: bool = True,
) -> Tensor:
    """Enhancing temporal consistency: every step teaches every other one.

        q[t] = softmax(o[t] / tau)
        L = CE(mean_t o[t], y) + weight / (T (T - 1)) sum_{i != j} tau^2 KL(q[j] || q[i])      q[j] teaches q[i]

    One step has nobody to learn from: at T = 1 it is the loss `mean`.

    Source: Zhao et al., arXiv 2305.14174. Written after the authors' code (Brain-Cog-Lab/ETC at 35dcd5b; temperature 4
    is its default, weight 1 that of its commands, and it detaches the teacher); the paper's text was not read.

    Args:
        logits: `[T, B, C]`.
        labels: `[B]` or `[B, C]`.
        progress: unused.
        tau: temperature of both sides.
        weight: of the divergence beside the cross entropy.
        detach: whether no gradient flows into a step as a teacher.
    """
    labels = checked_labels(logits, labels)
    loss = functional.cross_entropy(logits.mean(0), labels)
    steps = len(logits)
    if steps == 1:
        return loss
    student = torch.log_softmax(logits / tau, dim=-1)
    teacher = student.detach() if detach else student
    # The sum over all pairs (i = j adds nothing) comes to means over the steps, without T^2 terms in memory.
    negative_entropy = (teacher.exp() * teacher).sum(-1).mean(0)
    agreement = (teacher.exp().mean(0) * student.mean(0)).sum(-1)
    pairs = (negative_entropy - agreement).mean() * steps / (steps - 1)
    return loss + weight * tau**2 * pairs


def s2w(
    logits: Tensor,
    labels: Tensor,
    progress: float,  # noqa: ARG001 - one signature for every loss
    *,
    tau: float = 2.0,
    weight: float = 1.0,
    detach: bool = False,
    select: str = "batch",
) -> Tensor:
    """Strong to weak: the most confident step teaches the least confident one.

        con[t] = mean over the batch of max_c softmax(o[t])_c
        s = argmax_t con[t],  w = argmin_t con[t]
        L = CE(mean_t o[t], y) + weight tau^2 KL(softmax(o[s] / tau) || softmax(o[w] / tau))

    At T = 1, where the strongest step is the weakest, it is the loss `mean`.

    Source: Ding et al., "Synergy Between the Strong and the Weak", NeurIPS 2025, arXiv 2510.07924, sections 4.1 to 4.3
    and algorithm 1. Read was a plain text in which the displayed equations are missing; the factor tau^2 comes from a
    summary by others. No code of the authors was found. Algorithm 1 does not detach the teacher.

    Args:
        logits: `[T, B, C]`.
        labels: `[B]` or `[B, C]`.
        progress: unused.
        tau: temperature of both sides.
        weight: of the divergence beside the cross entropy.
        detach: whether no gradient flows into the teacher.
        select: "batch", the same two steps for the whole batch, as published; or "sample", two of its own for each
            sample: then a sample's loss does not depend on what else is in its batch, nor on how a batch is split over
            processes.
    """
    labels = checked_labels(logits, labels)
    strong, weak = _strongest_and_weakest(logits, select)
    return functional.cross_entropy(logits.mean(0), labels) + weight * _taught(weak, strong, tau, detach=detach)


def w2s(
    logits: Tensor,
    labels: Tensor,
    progress: float,  # noqa: ARG001 - one signature for every loss
    *,
    tau: float = 2.0,
    weight: float = 1.0,
    detach: bool = False,
    select: str = "batch",
) -> Tensor:
    """Weak to strong: the least confident step teaches the most confident one; the rest is as in `s2w`.

    L = CE(mean_t o[t], y) + weight tau^2 KL(softmax(o[w] / tau) || softmax(o[s] / tau))
    """
    labels = checked_labels(logits, labels)
    strong, weak = _strongest_and_weakest(logits, select)
    return functional.cross_entropy(logits.mean(0), labels) + weight * _taught(strong, weak, tau, detach=detach)


def _strongest_and_weakest(logits: Tensor, select: str) -> tuple[Tensor, Tensor]:
    """The logits `[B, C]` of the most and of the least confident step, of the batch or of each sample."""
    confidence = torch.softmax(logits.detach(), dim=-1).amax(-1)
    if select == "batch":
        confidence = confidence.mean(1, keepdim=True).expand_as(confidence)
    samples = torch.arange(logits.shape[1], device=logits.device)
    return logits[confidence.argmax(0), samples], logits[confidence.argmin(0), samples]


def _taught(student: Tensor, teacher: Tensor, tau: float, *, detach: bool) -> Tensor:
    return divergence(student, teacher.detach() if detach else teacher, tau).mean()
