"""Surrogate gradients: a spike is a Heaviside step going forward and one of these smooth derivatives going back.

Each function gives the derivative at `u`, the distance of the membrane potential from the threshold, for any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Derivative = Callable[[Tensor], Tensor]


def quadratic(u: Tensor) -> Tensor:
    """`max(0, 2 - 4|u|)`: the derivative of the quadratic gate with alpha = 2 (the TKS authors' choice)."""
    return (2.0 - 4.0 * u.abs()).clamp(min=0.0)


def atan(u: Tensor) -> Tensor:
    """`1 / (1 + (pi u)^2)`: the derivative of the arc tangent with alpha = 2 (Fang et al., ICCV 2021)."""
    return 1.0 / (1.0 + (math.pi * u).square())


def sigmoid(u: Tensor) -> Tensor:
    """Give `4 s (1 - s)` with `s = 1 / (1 + exp(-4 u))`: the derivative of the logistic function with alpha = 4."""
    s = torch.sigmoid(4.0 * u)
    return 4.0 * s * (1.0 - s)


def triangle(u: Tensor) -> Tensor:
    """`max(0, 1 - |u|)`: the triangle of unit height and unit half width (Bellec et al., NeurIPS 2018)."""
    return (1.0 - u.abs()).clamp(min=0.0)


SURROGATES: dict[str, Derivative] = {
    "quadratic": quadratic,
    "atan": atan,
    "sigmoid": sigmoid,
    "triangle": triangle,
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, derivative: Derivative) -> Tensor:
        ctx.save_for_backward(u)
        ctx.derivative = derivative
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.derivative(u), None


def spike(u: Tensor, surrogate: str = "quadratic") -> Tensor:
    """1 where `u >= 0` and 0 elsewhere, in the dtype of `u`; its gradient is the named surrogate's derivative."""
    spikes: Tensor = _Spike.apply(u, SURROGATES[surrogate])
    return spikes
