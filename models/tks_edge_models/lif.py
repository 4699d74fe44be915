"""The leaky integrate-and-fire neuron: the one place that holds its equations.

    h[t] = v_rest + (1 - 1/tau) (v[t-1] - v_rest) + k x[t]        charge;  k = 1/tau with decay_input, else 1
    s[t] = 1 if h[t] >= v_threshold else 0                        fire
    v[t] = v_reset where s[t] else h[t]                           hard reset (v_reset is a number; v_rest = v_reset)
    v[t] = h[t] - v_jump s[t]                                     soft reset (v_reset is None;    v_rest = 0)

The membrane starts at rest. Source: Fang et al., "SpikingJelly", Science Advances 9 (2023), eq. 1 to 3; with tau = 2,
v_threshold = 0.5 and v_reset = 0 the neuron of Dong et al., arXiv 2304.06540.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tks_edge_models.errors import ModelError, unknown
from tks_edge_models.neuron import Neuron, State
from tks_edge_models.surrogate import SURROGATES, spike


def tau_of(decay: float) -> float:
    """The time constant of a membrane that keeps this share a step, 0 to 1; see `LIFParameters.decay`."""
    return math.inf if decay == 1.0 else 1.0 / (1.0 - decay)


@dataclass(frozen=True)
class LIFParameters:
    """The constants of a LIF neuron.

    Attributes:
        tau: membrane time constant in timesteps, at least 1 (1: no memory; infinite: no leak, without `decay_input`).
        v_threshold: the potential at which it fires, above the resting potential.
        v_reset: the potential after a spike (hard reset), or None to subtract the threshold (soft reset).
        decay_input: whether the input is scaled by 1/tau.
        detach_reset: whether the gradient does not flow through the reset.
        surrogate: name of the surrogate gradient, a key of `surrogate.SURROGATES`.
        v_jump: what a soft reset subtracts; None for the threshold.

    Raises:
        ModelError: a constant is outside its range.
    """

    tau: float = 2.0
    v_threshold: float = 0.5
    v_reset: float | None = 0.0
    decay_input: bool = True
    detach_reset: bool = True
    surrogate: str = "quadratic"
    v_jump: float | None = None

    def __post_init__(self) -> None:
        if not self.tau >= 1.0:
            raise ModelError(f"tau is {self.tau}; it is a time constant in timesteps, a number of at least 1.")
        if math.isinf(self.tau) and self.decay_input:
            raise ModelError("tau is infinite, which scales the input to nothing; set decay_input to False.")
        if self.v_jump is not None and not (self.v_reset is None and math.isfinite(self.v_jump)):
            raise ModelError(f"v_jump is {self.v_jump}; it is a finite number, of a soft reset (v_reset None).")
        if not (math.isfinite(self.v_rest) and math.isfinite(self.v_threshold)):
            raise ModelError("v_threshold and v_reset must be finite numbers.")
        if self.v_threshold <= self.v_rest:
            raise ModelError(
                f"v_threshold is {self.v_threshold}; it must lie above the resting potential {self.v_rest}."
            )
        if self.surrogate not in SURROGATES:
            raise unknown("surrogate", self.surrogate, sorted(SURROGATES))

    @property
    def v_rest(self) -> float:
        """The potential that the membrane decays to, and starts from."""
        return 0.0 if self.v_reset is None else self.v_reset

    @property
    def jump(self) -> float:
        """What a soft reset subtracts."""
        return self.v_threshold if self.v_jump is None else self.v_jump

    @property
    def decay(self) -> float:
        """The share of the membrane's distance from rest that one step keeps: 1 - 1/tau."""
        return 1.0 - 1.0 / self.tau

    @property
    def gain(self) -> float:
        """The factor on the input: 1/tau with `decay_input`, else 1."""
        return 1.0 / self.tau if self.decay_input else 1.0


def charge(x: Tensor, v: Tensor | None, params: LIFParameters) -> Tensor:
    """The membrane potential `h[t]` after the input, before the reset. `v` is the state; None stands for rest."""
    current = x if params.gain == 1.0 else x * params.gain
    if v is None:
        return current + params.v_rest if params.v_rest else current
    kept = v * params.decay
    if params.v_rest:
        kept = kept + params.v_rest * (1.0 - params.decay)
    return kept + current


def reset(h: Tensor, spikes: Tensor, params: LIFParameters) -> Tensor:
    """The membrane potential `v[t]` after the spikes `s[t]` reset it."""
    if params.detach_reset:
        spikes = spikes.detach()
    if params.v_reset is None:
        return h - params.jump * spikes
    # Not torch.where: the gradient must reach the spikes when the reset is not detached.
    kept = h * (1.0 - spikes)
    return kept + params.v_reset * spikes if params.v_reset else kept


def step(x: Tensor, state: Tensor | None, params: LIFParameters) -> tuple[Tensor, Tensor]:
    """One timestep.

    Args:
        x: input current, `[B, ...]`, floating point.
        state: membrane potential after the previous step, same shape; None at rest.
        params: the constants.

    Returns:
        Spikes (0 or 1) and the new state, both of the shape and dtype of `x`.
    """
    h = charge(x, state, params)
    spikes = spike(h - params.v_threshold, params.surrogate)
    return spikes, reset(h, spikes, params)


class LIF(Neuron):
    """A layer of LIF neurons over a whole sequence: currents `[T, B, ...]` in, spikes `[T, B, ...]` out.

    It keeps nothing between calls: every call starts at rest. `repeat` of one current along T is what a still image
    gives; the view that `expand` makes is enough.

    Attributes:
        params: the constants.
        kernel: what computes the sequence where a gradient is wanted, chosen by `lif_kernels.select_kernel`; None for
            the loop over `step` below, which computes it in every other case (evaluation, export, a tracing compiler).
    """

    def __init__(self, params: LIFParameters | None = None) -> None:
        super().__init__()
        self.params = params if params is not None else LIFParameters()
        self.surrogate = self.params.surrogate
        self.equivalent = self.params
        self.kernel: Callable[[Tensor, LIFParameters], Tensor] | None = None

    def rest(self, x: Tensor) -> State:
        """The membrane at rest."""
        return (torch.full_like(x, self.params.v_rest),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One timestep; the state is the membrane."""
        spikes, v = step(x, state[0], self.params)
        return spikes, (v,)

    def forward(self, x: Tensor) -> Tensor:
        """Run all timesteps, from rest."""
        if (
            self.kernel is not None
            and x.requires_grad
            and torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
        ):
            return self.kernel(x, self.params)
        state: Tensor | None = None
        outputs = []
        for current in x.unbind(0):
            spikes, state = step(current, state, self.params)
            outputs.append(spikes)
        return torch.stack(outputs)

    def extra_repr(self) -> str:
        """The constants, for `print(module)`."""
        return str(self.params)
