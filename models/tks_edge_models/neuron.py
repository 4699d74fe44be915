"""A layer of spiking neurons: a pure step, and the thin module around it that runs a sequence.

`lif.LIF` is the one that the exporter folds and quantizes. Any other neuron is a subclass of `Neuron` with its
equations in `step`; the exporter traces that function and lays it out timestep by timestep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tks_edge_models.surrogate import spike

if TYPE_CHECKING:
    from tks_edge_models.lif import LIFParameters

State = tuple[Tensor, ...]
"""What a neuron hands on from step to step: tensors of the shape and dtype of its current, `[B, ...]`."""


class Neuron(nn.Module):
    """Neurons over a whole sequence: currents `[T, B, ...]` in, spikes `[T, B, ...]` out, from rest at every call.

    A subclass gives `rest` and `step`, in PyTorch operations on their arguments alone: no attribute is written, and
    nothing is kept. The one decision of a step, whether a neuron fires, is asked of `fire`, once: in training it
    carries the surrogate gradient, and there an exported graph is held against the neuron, spike by spike.

    Attributes:
        surrogate: name of the surrogate gradient, a key of `surrogate.SURROGATES`.
        equivalent: the constants of the LIF neuron that this one equals but for rounding, where there is one; the
            exporter then lowers that instead, with everything it can do for it.
    """

    surrogate: str = "quadratic"
    equivalent: LIFParameters | None = None

    def rest(self, x: Tensor) -> State:
        """The state before the first step, for a current like `x`, `[B, ...]`."""
        raise NotImplementedError(f"{type(self).__name__} has no rest(); give the state before the first step.")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One timestep: from the current `[B, ...]` and the state before it to the spikes and the state after it."""
        raise NotImplementedError(f"{type(self).__name__} has no step(); give one timestep's equations.")

    def fire(self, distance: Tensor) -> Tensor:
        """The spikes, 0 or 1: 1 where the potential is at the threshold or above it, `distance >= 0`.

        For a neuron that does not fire at the threshold itself, see `above`.
        """
        return spike(distance, self.surrogate)

    def forward(self, x: Tensor) -> Tensor:
        """Run all timesteps, from rest."""
        state = self.rest(x[0])
        outputs = []
        for current in x.unbind(0):
            spikes, state = self.step(current, state)
            outputs.append(spikes)
        return torch.stack(outputs)


def above(threshold: float) -> float:
    """The least float32 above a threshold: to fire at it or above is to fire above `threshold` alone."""
    limit = torch.tensor(threshold, dtype=torch.float32)
    return float(torch.nextafter(limit, torch.tensor(torch.inf)))
