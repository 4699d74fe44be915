"""A network that runs on the spikes of a graph, and says of each whether it would have fired it itself."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tks_edge_export.codes import CodedLIF
from tks_edge_export.probe import TIMESTEPS
from tks_edge_export.reference import Reference, Rounding
from tks_edge_models import LIF, LIFParameters, Network
from tks_edge_models.lif import charge, reset

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StepComparison:
    """One LIF layer at one timestep, over all samples.

    `differing` decisions differ, `faults` of them with the membrane further from the threshold than rounding explains.
    `largest_distance` is the largest |membrane - threshold| of a differing decision; `smallest_margin` the smallest of
    all decisions. `fired` counts the spikes.
    """

    decisions: int = 0
    differing: int = 0
    faults: int = 0
    fired: int = 0
    largest_distance: float = 0.0
    smallest_margin: float = float("inf")

    def __add__(self, other: StepComparison) -> StepComparison:
        return StepComparison(
            self.decisions + other.decisions,
            self.differing + other.differing,
            self.faults + other.faults,
            self.fired + other.fired,
            max(self.largest_distance, other.largest_distance),
            min(self.smallest_margin, other.smallest_margin),
        )

    @property
    def fire_rate(self) -> float:
        """Spikes a decision."""
        return self.fired / max(1, self.decisions)


@dataclass(frozen=True)
class LayerComparison:
    """One LIF layer, timestep by timestep; `exact` where no decision may differ at all."""

    path: str
    exact: bool
    steps: tuple[StepComparison, ...]

    @property
    def total(self) -> StepComparison:
        """All timesteps together."""
        return sum(self.steps, StepComparison())

    @property
    def first_fault(self) -> int | None:
        """The first timestep, from 0, with a fault."""
        return next((t for t, found in enumerate(self.steps) if found.faults), None)


class Replayed:
    """A copy of a network whose LIF layers pass on given spikes and record where they would have decided otherwise.

    Args:
        reference: the network, and how closely its decisions are judged.
        timesteps: T.
        frames: whether every timestep has an input of its own.
    """

    def __init__(self, reference: Reference, timesteps: int, *, frames: bool = False) -> None:
        self.network = copy.deepcopy(reference.network).cpu().eval()
        self._timesteps = timesteps
        self._frames = frames
        self._layers: dict[str, _ReplayedLIF] = {}
        self._order: list[_ReplayedLIF] = []
        sequences = isinstance(self.network, Network)
        takes_timesteps = TIMESTEPS in inspect.signature(type(self.network).forward).parameters
        self._told = {TIMESTEPS: 1} if takes_timesteps else {}
        for path, layer in list(self.network.named_modules()):
            if isinstance(layer, LIF):
                neuron = layer if isinstance(layer, CodedLIF) else _FloatNeuron(layer.params, reference.rounding)
                exact = path in reference.exact
                self._layers[path] = _ReplayedLIF(path, neuron, exact, sequences, self._order)
                self.network.set_submodule(path, self._layers[path])

    @property
    def paths(self) -> list[str]:
        """The module path of every LIF layer."""
        return list(self._layers)

    def run(self, batch: Array, spikes: dict[str, Array], real: int) -> Array:
        """The logits `[T, real, K]` that follow from these spikes, once every layer has judged its own.

        Args:
            batch: still images `[N, ...]`, or frames `[N, T, ...]`, of which the first `real` samples count.
            spikes: `[T, N, ...]` of every layer.
            real: how many samples are no filling.
        """
        for path, layer in self._layers.items():
            layer.begin(torch.from_numpy(spikes[path]), real)
        return self._logits(batch)[:, :real]

    def run_freely(self, batch: Array) -> Array:
        """The logits `[T, N, K]` of the network with the spikes that it fires itself."""
        for layer in self._layers.values():
            layer.begin(None, 0)
        return self._logits(batch)

    @property
    def fired(self) -> dict[str, Array]:
        """The spikes `[T, ...]` of every layer in the last free run."""
        return {path: torch.stack(layer.fired).numpy() for path, layer in self._layers.items()}

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


class _Neuron(Protocol):
    """What a neuron does at one timestep, and how closely its decisions can be judged."""

    def charge(self, x: Tensor, v: Tensor | None) -> Tensor: ...

    def fires(self, h: Tensor) -> Tensor: ...

    def reset(self, h: Tensor, spikes: Tensor) -> Tensor: ...

    def distance(self, h: Tensor) -> Tensor: ...

    def tolerance(self, h: Tensor) -> float: ...


class _FloatNeuron:
    """The equations of `tks_edge_models.lif`."""

    def __init__(self, params: LIFParameters, rounding: Rounding) -> None:
        self._params = params
        self._rounding = rounding

    def charge(self, x: Tensor, v: Tensor | None) -> Tensor:
        return charge(x, v, self._params)

    def fires(self, h: Tensor) -> Tensor:
        return h >= self._params.v_threshold

    def reset(self, h: Tensor, spikes: Tensor) -> Tensor:
        return reset(h, spikes, self._params)

    def distance(self, h: Tensor) -> Tensor:
        return (h - self._params.v_threshold).abs()

    def tolerance(self, h: Tensor) -> float:
        largest = max(abs(self._params.v_threshold), float(h.abs().max()))
        return self._rounding.membrane * largest


class _ReplayedLIF(nn.Module):
    """A LIF layer that judges the spikes it is given, and passes them on; given none, it fires its own."""

    def __init__(self, path: str, neuron: _Neuron, exact: bool, sequences: bool, order: list[_ReplayedLIF]) -> None:
        super().__init__()
        self.path = path
        self._neuron = neuron
        self.differing_samples = torch.zeros(1, dtype=torch.bool)
        self.fired: list[Tensor] = []
        self._exact = exact
        self._sequences = sequences
        self._order = order
        self._given: Tensor | None = None
        self._state: Tensor | None = None
        self._timestep = self._real = 0
        self._found: list[StepComparison] = []

    def begin(self, spikes: Tensor | None, real: int) -> None:
        """Start a run at rest, on the spikes `[T, N, ...]`, of which the first `real` samples count."""
        self._given, self._real = spikes, real
        self._state, self._timestep, self.fired = None, 0, []
        self.differing_samples = torch.zeros(real, dtype=torch.bool)

    def forward(self, x: Tensor) -> Tensor:
        """Run the next timestep, or, in a network over sequences, all that x has in front."""
        if not self._sequences:
            return self._step(x)
        return torch.stack([self._step(current) for current in x.unbind(0)])

    def _step(self, current: Tensor) -> Tensor:
        if self._given is None:
            h = self._neuron.charge(current, self._state)
            spikes = self._neuron.fires(h).to(h.dtype)
            self._state = self._neuron.reset(h, spikes)
            self.fired.append(spikes)
            return spikes
        if self not in self._order:
            self._order.append(self)
        given = self._given[self._timestep].reshape(current.shape)
        h = self._neuron.charge(current, self._state)
        rows = self._given.shape[1]
        self._judge(h.reshape(rows, -1)[: self._real], given.reshape(rows, -1)[: self._real])
        self._state = self._neuron.reset(h, given)
        self._timestep += 1
        return given

    def _judge(self, h: Tensor, given: Tensor) -> None:
        """Record the decisions of one timestep; h and the spikes are `[real, neurons]`."""
        distance = self._neuron.distance(h)
        impossible = ((given != 0) & (given != 1)) | ~torch.isfinite(h)
        differs = (self._neuron.fires(h) != (given == 1)) | impossible
        allowed = 0.0 if self._exact else self._neuron.tolerance(h)
        found = StepComparison(
            decisions=h.numel(),
            differing=int(differs.sum()),
            faults=int(((differs & (distance > allowed)) | impossible).sum()),
            fired=int((given != 0).sum()),
            largest_distance=float(distance[differs].max()) if bool(differs.any()) else 0.0,
            smallest_margin=float(distance.min()),
        )
        self.differing_samples |= differs.any(1)
        if self._timestep == len(self._found):
            self._found.append(StepComparison())
        self._found[self._timestep] += found

    def result(self) -> LayerComparison:
        """What was found so far."""
        return LayerComparison(self.path, self._exact, tuple(self._found))
