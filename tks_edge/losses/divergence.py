"""How far a student's softened distribution is from its teacher's: what distillation minimises."""

from __future__ import annotations

import torch
from torch import Tensor


def divergence(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """Kullback-Leibler divergence of softened distributions, one for each leading index.

        D = tau^2 KL(softmax(teacher / tau) || softmax(student / tau))

    The factor keeps the size of the gradient where the temperature divides it. Source: Hinton et al., arXiv 1503.02531,
    section 2.

    Args:
        student: logits, `[..., C]`.
        teacher: logits that broadcast against them. The gradient flows into it too: detach it where it must not.
        tau: the temperature of both.

    Returns:
        D without the last axis, at least 0 up to rounding.
    """
    q = torch.log_softmax(teacher / tau, dim=-1)
    p = torch.log_softmax(student / tau, dim=-1)
    return (q.exp() * (q - p)).sum(-1) * tau**2
