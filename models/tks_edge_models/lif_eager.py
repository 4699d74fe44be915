"""The LIF sequence in torch operations that are run one after the other, without autograd and in place.

The operations and their order are those of `lif.charge`, the threshold and `lif.reset` (a sum of two may be turned
round), so the spikes are the same to the bit; `lif_sequence` has the equations of the way back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tks_edge_models.lif import LIFParameters
from tks_edge_models.surrogate import SURROGATES


def forward(x: Tensor, timesteps: int, params: LIFParameters) -> tuple[Tensor, Tensor]:
    """Spikes and membrane potentials before the reset, `[T, N]` both.

    Args:
        x: currents `[T, N]`, or one that is held, `[1, N]`.
        timesteps: T.
        params: the constants.
    """
    spikes, potentials = x.new_empty(timesteps, x.shape[1]), x.new_empty(timesteps, x.shape[1])
    state = torch.empty_like(x[0])
    for t in range(timesteps):
        h, fired = potentials[t], spikes[t]
        torch.mul(x[t if len(x) > 1 else 0], params.gain, out=h)
        if t > 0:
            state.mul_(params.decay)
            if params.v_rest:
                state.add_(params.v_rest * (1.0 - params.decay))
            h.add_(state)
        elif params.v_rest:
            h.add_(params.v_rest)
        torch.sub(h, params.v_threshold, out=fired).ge_(0)
        _reset(h, fired, state, params)
    return spikes, potentials


def _reset(h: Tensor, fired: Tensor, state: Tensor, params: LIFParameters) -> None:
    """Write the potential after the spikes to `state`."""
    if params.v_reset is None:
        torch.mul(fired, params.v_threshold, out=state)
        torch.sub(h, state, out=state)
        return
    torch.mul(fired, -1.0, out=state).add_(1.0).mul_(h)
    if params.v_reset:
        state.add_(fired * params.v_reset)


def backward(grad: Tensor, potentials: Tensor, params: LIFParameters, *, into: Tensor | None = None) -> Tensor:
    """The gradient of every step's current, `[T, N]`.

    Args:
        grad: of the spikes, `[T, N]`.
        potentials: the membrane before the reset, `[T, N]`.
        params: the constants.
        into: where it is written; may be `potentials`.
    """
    derivative = SURROGATES[params.surrogate]
    gradient = torch.empty_like(potentials) if into is None else into
    carried = torch.empty_like(potentials[0])
    for t in range(len(potentials) - 1, -1, -1):
        h, reaching_spike = potentials[t], grad[t]
        distance = h - params.v_threshold
        last = t == len(potentials) - 1
        if not last and not params.detach_reset:
            slope = -params.v_threshold if params.v_reset is None else params.v_reset - h
            reaching_spike = reaching_spike + carried * slope
        gh = torch.mul(reaching_spike, derivative(distance), out=gradient[t])
        if not last:
            gh.add_(carried if params.v_reset is None else carried.masked_fill_(distance >= 0, 0.0))
        torch.mul(gh, params.decay, out=carried)
        gh.mul_(params.gain)
    return gradient
