"""A network that runs on the spikes of a graph, and says of each whether it would have fired it itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tks_edge_models import LIF, LIFParameters
from tks_edge_models.lif import charge, reset

Array = npt.NDArray[Any]
EPSILON = float(np.finfo(np.float32).eps)
ULPS = 32
"""How far a borderline membrane may be from the threshold, in units in the last place of the layer's largest membrane.

A sum of a few thousand products in another order differs by a few units in practice; a wrong constant, a lost state or
a swapped step moves membranes by many thousands.
"""


@dataclass(frozen=True)
class LayerComparison:
    """One LIF layer over all samples and timesteps.

    `differing` decisions differ, `faults` of them with the membrane further from the threshold than rounding explains;
    `first_fault` is the first timestep (from 0) with one. `largest_distance` is the largest |membrane - threshold| of a
    differing decision; `smallest_margin` the smallest of all decisions. `fire_rate` is spikes a neuron and timestep.
    """

    path: str
    decisions: int
    differing: int
    faults: int
    first_fault: int | None
    largest_distance: float
    smallest_margin: float
    fire_rate: float


class Replayed:
    """A copy of a network whose LIF layers pass on given spikes and record where they would have decided otherwise."""

    def __init__(self, network: nn.Module) -> None:
        self._network = copy.deepcopy(network).cpu().eval()
        self._layers: dict[str, _ReplayedLIF] = {}
        self._order: list[_ReplayedLIF] = []
        for path, layer in list(self._network.named_modules()):
            if isinstance(layer, LIF):
                self._layers[path] = _ReplayedLIF(path, layer.params, self._order)
                self._network.set_submodule(path, self._layers[path])

    @property
    def paths(self) -> list[str]:
        """The module path of every LIF layer."""
        return list(self._layers)

    def run(self, batch: Array, timesteps: int, spikes: dict[str, Array], real: int) -> Array:
        """The logits `[T, real, K]` that follow from these spikes, once every layer has judged its own."""
        for path, layer in self._layers.items():
            layer.expect(torch.from_numpy(spikes[path]), real)
        with torch.inference_mode():
            logits: Array = self._network(torch.from_numpy(batch), timesteps).numpy()[:, :real]
        return logits

    def borderline_samples(self) -> npt.NDArray[np.bool_]:
        """Which samples of the last run had a decision that differs."""
        flags = [layer.differing_samples.numpy() for layer in self._layers.values()]
        return np.logical_or.reduce(flags) if flags else np.zeros(1, dtype=np.bool_)

    def results(self) -> list[LayerComparison]:
        """The findings of all runs so far, in the order in which the layers ran."""
        return [layer.result() for layer in self._order]


class _ReplayedLIF(nn.Module):
    """A LIF layer that judges the spikes it is given, and passes them on."""

    def __init__(self, path: str, params: LIFParameters, order: list[_ReplayedLIF]) -> None:
        super().__init__()
        self.path = path
        self.params = params
        self.differing_samples = torch.zeros(1, dtype=torch.bool)
        self._order = order
        self._given = torch.empty(0)
        self._real = 0
        self._decisions = self._differing = self._faults = self._fired = 0
        self._first_fault: int | None = None
        self._largest_distance = 0.0
        self._smallest_margin = float("inf")

    def expect(self, spikes: Tensor, real: int) -> None:
        """Set the spikes `[T, N, ...]` of the next run, of which the first `real` samples count."""
        self._given, self._real = spikes, real
        self.differing_samples = torch.zeros(real, dtype=torch.bool)

    def forward(self, x: Tensor) -> Tensor:
        """Judge every timestep from the state that the given spikes lead to."""
        if self not in self._order:
            self._order.append(self)
        given = self._given.reshape(x.shape)
        state: Tensor | None = None
        for t, current in enumerate(x.unbind(0)):
            h = charge(current, state, self.params)
            self._judge(h[: self._real], given[t, : self._real], t)
            state = reset(h, given[t], self.params)
        return given

    def _judge(self, h: Tensor, given: Tensor, timestep: int) -> None:
        distance = (h - self.params.v_threshold).abs()
        differs = (h >= self.params.v_threshold) != (given == 1)
        scale = max(abs(self.params.v_threshold), float(h.abs().max()))
        impossible = ((given != 0) & (given != 1)) | ~torch.isfinite(h)
        faults = int(((differs & (distance > ULPS * EPSILON * scale)) | impossible).sum())
        self._decisions += h.numel()
        self._differing += int((differs | impossible).sum())
        self._faults += faults
        self._fired += int((given != 0).sum())
        if faults and (self._first_fault is None or timestep < self._first_fault):
            self._first_fault = timestep
        if bool(differs.any()):
            self._largest_distance = max(self._largest_distance, float(distance[differs].max()))
            self.differing_samples |= differs.flatten(1).any(1)
        self._smallest_margin = min(self._smallest_margin, float(distance.min()))

    def result(self) -> LayerComparison:
        """What was found so far."""
        return LayerComparison(
            path=self.path,
            decisions=self._decisions,
            differing=self._differing,
            faults=self._faults,
            first_fault=self._first_fault,
            largest_distance=self._largest_distance,
            smallest_margin=self._smallest_margin,
            fire_rate=self._fired / max(1, self._decisions),
        )
