"""The LIF neurons of other libraries, operation for operation: the order of a sum decides spikes at the threshold.

Each is in real numbers a `lif.LIF`, named by `equivalent`, or has a state that no LIF has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tks_edge_models.errors import ModelError
from tks_edge_models.lif import LIFParameters, tau_of
from tks_edge_models.neuron import Neuron, State, above


class RelaxingLIF(Neuron):
    """The membrane moves towards rest and its input.

        h[t] = v[t-1] + (x[t] - (v[t-1] - v_rest)) / tau          charge, with decay_input
        h[t] = v[t-1] - (v[t-1] - v_rest) / tau + x[t]            charge, without

    It fires and is reset as `lif` has it, v_rest included. Source: SpikingJelly's LIFNode and, with a `rate` in place
    of 1/tau, its ParametricLIFNode; Norse's LIFBox.

    Args:
        tau: membrane time constant in timesteps, above 1; None where `rate` is given.
        rate: 1/tau as a float32 number, multiplied by instead of divided by.
        v_threshold: where it fires.
        v_reset: the potential after a spike, or None to subtract the threshold.
        decay_input: whether the input is scaled by 1/tau.
        strict: whether it fires above the threshold alone.

    Raises:
        ModelError: a constant is outside its range, or both of tau and rate are given, or neither.
    """

    def __init__(
        self,
        *,
        tau: float | None = None,
        rate: float | None = None,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
        strict: bool = False,
    ) -> None:
        super().__init__()
        if (tau is None) == (rate is None):
            raise ModelError("give one of tau and rate.")
        self.tau = tau
        self.rate = rate if rate is not None else 1.0 / tau if tau else 0.0
        if not 0.0 < self.rate <= 1.0:
            raise ModelError(f"tau is {tau} and rate {rate}; tau is at least 1, and a rate above 0 and at most 1.")
        self.v_jump = v_threshold
        self.v_threshold = above(v_threshold) if strict else v_threshold
        self.v_reset = v_reset
        self.decay_input = decay_input
        self.equivalent = LIFParameters(
            tau=1.0 / self.rate if tau is None else tau,
            v_threshold=self.v_threshold,
            v_reset=v_reset,
            decay_input=decay_input,
            v_jump=v_threshold if v_reset is None and strict else None,
        )

    def rest(self, x: Tensor) -> State:
        """The membrane at rest."""
        return (torch.full_like(x, 0.0 if self.v_reset is None else self.v_reset),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One timestep; the state is the membrane."""
        (v,) = state
        away = v - self.v_reset if self.v_reset else v
        h = v + self._slowed(x - away) if self.decay_input else v - self._slowed(away) + x
        spikes = self.fire(h - self.v_threshold)
        reset = spikes.detach()
        if self.v_reset is None:
            return spikes, (h - reset * self.v_jump,)
        kept = (1.0 - reset) * h
        return spikes, (kept + reset * self.v_reset if self.v_reset else kept,)

    def _slowed(self, change: Tensor) -> Tensor:
        return change * self.rate if self.tau is None else change / self.tau


class DelayedResetLIF(Neuron):
    """A spike takes the threshold off the membrane one step late, and undecayed.

        h[t] = beta h[t-1] + x[t] - v_threshold s[t-1]            s[t] = 1 if h[t] > v_threshold

    Source: snnTorch's Leaky, reset_mechanism "subtract". Without the delay it takes it off at once, and, where the
    membrane is still above the threshold then, once only:

        h[t] = beta v[t-1] + x[t] - v_threshold r[t]              r[t] = 1 if v[t-1] > v_threshold
        v[t] = h[t] - v_threshold (s[t] - r[t])

    Args:
        beta: the share of the membrane that one step keeps, 0 to 1.
        v_threshold: where it fires, above 0.
        delay: whether the reset comes one step late.

    Raises:
        ModelError: a constant is outside its range.
    """

    def __init__(self, *, beta: float, v_threshold: float = 1.0, delay: bool = True) -> None:
        super().__init__()
        if not (0.0 <= beta <= 1.0 and 0.0 < v_threshold < math.inf):
            raise ModelError(f"beta is {beta}, 0 to 1, and v_threshold {v_threshold}, a number above 0.")
        self.beta = beta
        self.v_threshold = v_threshold
        self.delay = delay
        self._least = above(v_threshold)
        if delay and beta > 0.0:
            self.equivalent = LIFParameters(
                tau=tau_of(beta),
                v_threshold=self._least,
                v_reset=None,
                decay_input=False,
                v_jump=v_threshold / beta,
            )

    def rest(self, x: Tensor) -> State:
        """The membrane at rest, and no spikes before; without the delay the membrane alone."""
        return (torch.zeros_like(x), torch.zeros_like(x)) if self.delay else (torch.zeros_like(x),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One timestep; the states are the membrane and, with the delay, the spikes of the step before."""
        pending = state[1] if self.delay else (state[0] >= self._least).to(x.dtype)
        h = self.beta * state[0] + x - pending * self.v_threshold
        spikes = self.fire(h - self._least)
        if self.delay:
            return spikes, (h, spikes.detach())
        return spikes, (h - (spikes - pending) * self.v_threshold,)


class CurrentLIF(Neuron):
    """The input goes to a synaptic current that decays, and drives the membrane.

        i[t] = i'[t-1] + x[t]                      i'[t] = i[t] - syn_rate i[t]
        h[t] = v[t-1] + mem_rate ((v_leak - v[t-1]) + i[t])       s[t] = 1 if h[t] > v_threshold
        v[t] = v_reset where s[t] else h[t]

    Source: Norse's LIF and LIFCell (`lif_feed_forward_step`), with dt in the rates.

    Args:
        mem_rate: dt / tau_mem, as a float32 number.
        syn_rate: dt / tau_syn, likewise.
        v_threshold: where it fires.
        v_leak: the potential that the membrane decays to, and starts from.
        v_reset: the potential after a spike.
    """

    def __init__(
        self,
        *,
        mem_rate: float,
        syn_rate: float,
        v_threshold: float = 1.0,
        v_leak: float = 0.0,
        v_reset: float = 0.0,
    ) -> None:
        super().__init__()
        self.mem_rate = mem_rate
        self.syn_rate = syn_rate
        self.v_threshold = v_threshold
        self.v_leak = v_leak
        self.v_reset = v_reset
        self._least = above(v_threshold)

    def rest(self, x: Tensor) -> State:
        """The membrane at its leak potential, and no current."""
        return torch.full_like(x, self.v_leak), torch.zeros_like(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One timestep; the states are the membrane and the current."""
        v, current = state
        current = current + x
        h = v + self.mem_rate * ((self.v_leak - v) + current)
        spikes = self.fire(h - self._least)
        return spikes, ((1.0 - spikes) * h + spikes * self.v_reset, current + -self.syn_rate * current)
