"""A network that runs on the spikes of a graph, judging each, or freely on its own."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tks_edge_export.channel_lif import ChannelLIF
from tks_edge_export.codes import CodedLIF
from tks_edge_export.decisions import FloatNeuron, Judged, LayerComparison, StepComparison, SteppedNeuron, judge
from tks_edge_export.errors import VerificationError
from tks_edge_export.probe import TIMESTEPS
from tks_edge_export.reference import Reference, Rounding, substitute
from tks_edge_export.values import Array
from tks_edge_models import LIF, Network, Neuron
from tks_edge_models.neuron import State


class Replayed:
    """A copy of a network whose neurons pass on given spikes and record where they would have decided otherwise.

    Args:
        reference: the network, and how closely its decisions are judged.
        timesteps: T.
        frames: whether every timestep has an input of its own.
    """

    def __init__(self, reference: Reference, timesteps: int, *, frames: bool = False) -> None:
        self.network = copy.deepcopy(reference.network).cpu().eval()
        self._timesteps = timesteps
        self._frames = frames
        self._layers: dict[str, _ReplayedNeuron] = {}
        self._order: list[_ReplayedNeuron] = []
        sequences = isinstance(self.network, Network)
        takes_timesteps = TIMESTEPS in inspect.signature(type(self.network).forward).parameters
        self._told = {TIMESTEPS: 1} if takes_timesteps else {}
        for path, layer in list(self.network.named_modules()):
            if isinstance(layer, Neuron):
                neuron = _judged(layer, reference.rounding)
                replayed = _ReplayedNeuron(path, layer, neuron, path in reference.exact, sequences, self._order)
                self._layers[path] = replayed
                substitute(self.network, path, replayed)

    @property
    def paths(self) -> list[str]:
        """The module path of every layer of neurons, of those too that never run."""
        return list(self._layers)

    def run(self, batch: Array, spikes: dict[str, Array], real: int) -> Array:
        """The logits `[T, real, K]` that follow from these spikes, once every layer has judged its own.

        Args:
            batch: still images `[N, ...]`, or frames `[N, T, ...]`, of which the first `real` samples count.
            spikes: `[T, N, ...]` of every layer that runs.
            real: how many samples are no filling.

        Raises:
            VerificationError: a layer that runs has no spikes.
        """
        for path, layer in self._layers.items():
            layer.begin(real)
            if path in spikes:
                layer.given = torch.from_numpy(spikes[path])
        return self._logits(batch)[:, :real]

    def run_freely(self, batch: Array) -> Array:
        """The logits `[T, N, K]` of the network with the spikes that it fires itself."""
        for layer in self._layers.values():
            layer.begin(None)
        return self._logits(batch)

    @property
    def fired(self) -> dict[str, Array]:
        """The spikes `[T, ...]` of every layer that ran in the last free run."""
        return {path: torch.stack(layer.fired).numpy() for path, layer in self._layers.items() if layer.fired}

    def _logits(self, batch: Array) -> Array:
        pixels = torch.from_numpy(batch)
        frames = pixels.transpose(0, 1) if self._frames else pixels.expand(self._timesteps, *pixels.shape)
        with torch.inference_mode():
            if not isinstance(self.network, Network):
                # A module of one timestep: its LIF layers keep their state from call to call.
                logits = torch.stack([self.network(frame, **self._told).reshape(len(frame), -1) for frame in frames])
            else:
                logits = self.network(frames) if self._frames else self.network(pixels, self._timesteps)
        result: Array = logits.numpy()
        return result

    def borderline_samples(self) -> npt.NDArray[np.bool_]:
        """Which samples of the last run had a decision that differs."""
        flags = [layer.differing_samples.numpy() for layer in self._layers.values()]
        return np.logical_or.reduce(flags) if flags else np.zeros(1, dtype=np.bool_)

    def results(self) -> list[LayerComparison]:
        """The findings of all runs so far, in the order in which the layers ran."""
        return [layer.result() for layer in self._order]


def _judged(layer: Neuron, rounding: Rounding) -> Judged:
    """What judges the decisions of a layer."""
    if isinstance(layer, CodedLIF):
        return layer
    if not isinstance(layer, LIF):
        return SteppedNeuron(layer, rounding)
    return FloatNeuron(layer.params, rounding, layer.thresholds if isinstance(layer, ChannelLIF) else None)


class _ReplayedNeuron(nn.Module):
    """Neurons that judge the spikes they are given, and pass them on; or that fire their own and keep them."""

    def __init__(
        self, path: str, layer: Neuron, neuron: Judged, exact: bool, sequences: bool, order: list[_ReplayedNeuron]
    ) -> None:
        super().__init__()
        self._layer = layer
        self.given: Tensor | None = None
        self.fired: list[Tensor] = []
        self.differing_samples = torch.zeros(1, dtype=torch.bool)
        self._path = path
        self._neuron = neuron
        self._exact = exact
        self._sequences = sequences
        self._order = order
        self._state: State | None = None
        self._timestep = 0
        self._real: int | None = None
        self._found: list[StepComparison] = []

    def __getattr__(self, name: str) -> Any:
        """What the network reads of its neurons besides their spikes is what the layer has that these stand for."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_layer"), name)

    def begin(self, real: int | None) -> None:
        """Start a run at rest: to judge the first `real` samples of what it will be given, or freely for None."""
        self._real, self._timestep = real, 0
        self.given, self._state, self.fired = None, None, []
        self.differing_samples = torch.zeros(real or 0, dtype=torch.bool)

    def forward(self, x: Tensor) -> Tensor:
        """Run the next timestep, or, in a network over sequences, all that x has in front."""
        if not self._sequences:
            return self._step(x)
        return torch.stack([self._step(current) for current in x.unbind(0)])

    def _step(self, current: Tensor) -> Tensor:
        spikes, self._state = self._neuron.advance(current, self._state, self._decided)
        if self._real is None:
            self.fired.append(spikes)
        self._timestep += 1
        return spikes

    def _decided(self, h: Tensor) -> Tensor:
        return self._neuron.fires(h).to(h.dtype) if self._real is None else self._judged(h, self._real)

    def _judged(self, h: Tensor, real: int) -> Tensor:
        """The spikes that are given for this timestep, which are judged."""
        if self.given is None:
            raise VerificationError(f"the graph lacks the neurons {self._path!r}: it is of another network.")
        if self not in self._order:
            self._order.append(self)
        given, rows = self.given[self._timestep].reshape(h.shape), self.given.shape[1]
        found, differing = judge(self._neuron, h, given, samples=rows, real=real, exact=self._exact)
        self.differing_samples |= differing
        if self._timestep == len(self._found):
            self._found.append(StepComparison())
        self._found[self._timestep] += found
        return given

    def result(self) -> LayerComparison:
        """What was found so far."""
        return LayerComparison(self._path, self._exact, tuple(self._found))
