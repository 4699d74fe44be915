"""Would a neuron have fired the spikes of a graph itself? Counted decision by decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tks_edge_export import channel_lif
from tks_edge_export.reference import Rounding
from tks_edge_models import LIFParameters
from tks_edge_models.lif import charge, reset
from tks_edge_models.neuron import Neuron, State


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


Decide = Callable[[Tensor], Tensor]
"""From potentials to spikes, 0 or 1 in their dtype: by the neuron itself, or by the graph."""


class Judged(Protocol):
    """What a neuron does at one timestep, and how closely its decisions can be judged.

    A potential is in whatever unit and from whatever zero the neuron has it.
    """

    def advance(self, x: Tensor, state: State | None, decide: Decide) -> tuple[Tensor, State]:
        """The spikes that `decide` gives for the potential after the input, and the state after them; None at rest."""
        ...

    def fires(self, h: Tensor) -> Tensor:
        """Where the neuron fires, as bool."""
        ...

    def distance(self, h: Tensor) -> Tensor:
        """How far the potentials are from the threshold."""
        ...

    def tolerance(self, h: Tensor) -> float:
        """How far from it a borderline potential may be."""
        ...


class FloatNeuron:
    """The equations of `tks_edge_models.lif`.

    Args:
        params: the constants.
        rounding: of the arithmetic.
        thresholds: of the channels, where these have units of their own; distances are in the network's.
    """

    def __init__(self, params: LIFParameters, rounding: Rounding, thresholds: Tensor | None = None) -> None:
        self._params = params
        self._rounding = rounding
        self._own = thresholds
        self._thresholds: Tensor | float = params.v_threshold if thresholds is None else thresholds
        self._units = self._thresholds / params.v_threshold

    def advance(self, x: Tensor, state: State | None, decide: Decide) -> tuple[Tensor, State]:
        """The spikes that `decide` gives, and the membrane after them."""
        h = charge(x, None if state is None else state[0], self._params)
        spikes = decide(h)
        return spikes, (self._reset(h, spikes),)

    def fires(self, h: Tensor) -> Tensor:
        """Where the neuron fires, as bool."""
        return h >= self._thresholds

    def _reset(self, h: Tensor, spikes: Tensor) -> Tensor:
        if self._own is None:
            return reset(h, spikes, self._params)
        return channel_lif.reset(h, spikes, self._params, self._own)

    def distance(self, h: Tensor) -> Tensor:
        """How far the potentials are from the threshold."""
        return (h - self._thresholds).abs() / self._units

    def tolerance(self, h: Tensor) -> float:
        """How far from it a borderline potential may be."""
        largest = max(abs(self._params.v_threshold), float((h.abs() / self._units).max()))
        return self._rounding.membrane * largest


class SteppedNeuron:
    """Any neuron, by its own `step`; its potentials are distances from the threshold.

    Args:
        neuron: whose decisions are taken over; it is changed.
        rounding: of the arithmetic.
    """

    def __init__(self, neuron: Neuron, rounding: Rounding) -> None:
        self._neuron = neuron
        self._rounding = rounding
        self._largest = 0.0

    def advance(self, x: Tensor, state: State | None, decide: Decide) -> tuple[Tensor, State]:
        """The spikes that `decide` gives, and the states after them."""
        before = self._neuron.rest(x) if state is None else state
        self._largest = max(float(value.abs().max()) for value in (x, *before))
        self._neuron.fire = decide  # type: ignore[method-assign, assignment]
        return self._neuron.step(x, before)

    def fires(self, h: Tensor) -> Tensor:
        """Where the neuron fires, as bool."""
        return h >= 0

    def distance(self, h: Tensor) -> Tensor:
        """How far the potentials are from the threshold."""
        return h.abs()

    def tolerance(self, h: Tensor) -> float:
        """How far from it a borderline potential may be."""
        return self._rounding.membrane * max(self._largest, float(h.abs().max()))


def judge(
    neuron: Judged, h: Tensor, given: Tensor, *, samples: int, real: int, exact: bool
) -> tuple[StepComparison, Tensor]:
    """Compare the spikes of one timestep with what the potentials say.

    Args:
        neuron: whose potentials they are.
        h: after the input, before the reset, as the layer has them.
        given: the spikes of the graph, in the shape of `h`.
        samples: how many samples `h` holds, one after the other.
        real: how many of them are no filling.
        exact: whether no decision may differ at all.

    Returns:
        The counts, and which samples have a decision that differs, `[real]`, bool.
    """

    def by_sample(values: Tensor) -> Tensor:
        return values.reshape(samples, -1)[:real]

    fires, distance, given = by_sample(neuron.fires(h)), by_sample(neuron.distance(h)), by_sample(given)
    impossible = ((given != 0) & (given != 1)) | ~torch.isfinite(by_sample(h))
    differs = (fires != (given == 1)) | impossible
    explained = torch.zeros_like(differs) if exact else distance <= neuron.tolerance(h)
    found = StepComparison(
        decisions=given.numel(),
        differing=int(differs.sum()),
        faults=int(((differs & ~explained) | impossible).sum()),
        fired=int((given != 0).sum()),
        largest_distance=float(distance[differs].max()) if bool(differs.any()) else 0.0,
        smallest_margin=float(distance.min()),
    )
    return found, differs.any(1)
