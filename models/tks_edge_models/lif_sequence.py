"""The LIF equations of `lif` over a whole sequence, forward and back, in torch operations without autograd.

Going forward these are `lif.charge`, the threshold and `lif.reset`, in that order and no other: what is computed in the
same order rounds the same way, and rounding can turn a comparison. Going back, with `g` the gradient that reaches the
membrane `v[t]` from step t + 1, `gs[t]` that of the spikes and `d[t]` the surrogate's derivative at
`h[t] - v_threshold`,

    gh[t] = g (1 - s[t]) + (gs[t] + g (v_reset - h[t])) d[t]     hard reset
    gh[t] = g            + (gs[t] - g v_threshold)      d[t]     soft reset
    gx[t] = k gh[t],     g = (1 - 1/tau) gh[t]

where the second term in each bracket is there only when the reset is not detached.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tks_edge_models.lif import LIFParameters, charge, reset
from tks_edge_models.surrogate import SURROGATES


def fires(h: Tensor, params: LIFParameters) -> Tensor:
    """The spikes `s[t]` that follow from the membrane potential `h[t]`, 0 or 1 in its dtype."""
    return (h - params.v_threshold >= 0).to(h.dtype)


def run(x: Tensor, timesteps: int, params: LIFParameters) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the spikes and the membrane potential before the reset, `s[t]` and `h[t]`, step by step.

    Args:
        x: currents `[T, ...]`, or `[1, ...]` where the same one is held for all steps.
        timesteps: T.
        params: the constants.
    """
    state: Tensor | None = None
    for t in range(timesteps):
        h = charge(x[t if len(x) > 1 else 0], state, params)
        spikes = fires(h, params)
        state = reset(h, spikes, params)
        yield spikes, h


def run_back(grad: Tensor, potentials: Sequence[Tensor], params: LIFParameters) -> Iterator[Tensor]:
    """Yield the gradient of every step's current, from the last step to the first.

    Args:
        grad: of the spikes, `[T, ...]`.
        potentials: `h[t]` of every step.
        params: the constants.
    """
    derivative = SURROGATES[params.surrogate]
    carried: Tensor | None = None
    for t in range(len(potentials) - 1, -1, -1):
        h, reaching_spike = potentials[t], grad[t]
        if carried is not None and not params.detach_reset:
            slope = -params.v_threshold if params.v_reset is None else params.v_reset - h
            reaching_spike = reaching_spike + carried * slope
        gh = reaching_spike * derivative(h - params.v_threshold)
        if carried is not None:
            gh = gh + (carried if params.v_reset is None else carried * (1.0 - fires(h, params)))
        yield gh if params.gain == 1.0 else gh * params.gain
        carried = gh * params.decay


def forward(x: Tensor, timesteps: int, params: LIFParameters) -> Tensor:
    """Spikes `[T, ...]` of currents `[T, ...]`, or of one that is held, `[1, ...]`."""
    return torch.stack([spikes for spikes, _ in run(x, timesteps, params)])


def backward(grad: Tensor, x: Tensor, params: LIFParameters) -> Tensor:
    """The gradient of the currents `x`, in their shape, from that of the spikes; the membrane is computed anew."""
    potentials = [h for _, h in run(x, len(grad), params)]
    gradients = list(run_back(grad, potentials, params))
    if len(x) == len(grad):
        return torch.stack(gradients[::-1])
    total = gradients[0]
    for gradient in gradients[1:]:
        total = total + gradient
    return total.unsqueeze(0)
