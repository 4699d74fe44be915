"""Networks in PyTorch, one timestep after the other: what an unrolled graph must compute, without the exporter."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tks_edge_models import LIF, LIFParameters
from tks_edge_models.lif import charge, step


class StepByStep:
    """A copy of a network that takes one timestep, `[N, ...]` or `[1, N, ...]`, run T times.

    Attributes:
        network: the copy; its LIF layers keep the state that `step` gives them.
        margin: the smallest distance of any membrane from its threshold so far, relative to the largest membrane.
        rates: spikes a neuron at every timestep of the last run, by module path.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network)
        self.margin = float("inf")
        self.rates: dict[str, list[float]] = {}
        self._states: dict[str, Tensor] = {}
        for path, layer in self.network.named_modules():
            if isinstance(layer, LIF):
                layer.forward = self._neuron(path, layer.params)  # type: ignore[method-assign, assignment]

    def run(self, x: Tensor, timesteps: int) -> Tensor:
        """The logits `[T, N, K]` for a still input `[N, ...]`."""
        self._states.clear()
        self.rates.clear()
        with torch.no_grad():
            logits = [self.network(x).reshape(len(x), -1) for _ in range(timesteps)]
        return torch.stack(logits)

    def _neuron(self, path: str, params: LIFParameters) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            h = charge(x, self._states.get(path), params)
            largest = max(float(h.abs().max()), params.v_threshold)
            self.margin = min(self.margin, float((h - params.v_threshold).abs().min()) / largest)
            spikes, self._states[path] = step(x, self._states.get(path), params)
            self.rates.setdefault(path, []).append(float(spikes.mean()))
            return spikes

        return forward
