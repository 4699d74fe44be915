"""Is the graph still the network? Every spike of every LIF layer is judged, one decision at a time.

The graph runs in ONNX Runtime with all its spikes as extra outputs. The PyTorch network then runs on the same inputs,
and each of its LIF layers passes on the spikes that the graph fired there, after working out which it would have fired
itself. So both sides always decide from the same past, and a difference is never the echo of an earlier one. A
difference counts as borderline, not as a fault, only where the membrane is within rounding of the threshold: the two
sum the products of a convolution in different orders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from tks_edge_export.decisions import LayerComparison, StepComparison
from tks_edge_export.errors import VerificationError
from tks_edge_export.reference import Reference, Rounding
from tks_edge_export.replay import Replayed
from tks_edge_export.values import Array
from tks_edge_export.watched import Outputs, WatchedGraph, batches


@dataclass(frozen=True)
class Comparison:
    """A graph against the network that it must equal, over `samples` inputs.

    `layers` are in the order of execution. `max_logit_difference` is to the network's logits for the same spikes, those
    of every step included; `max_watched_difference` between the graph as shipped and with its spikes as outputs.
    `predictions_differing` are from that network's when both run freely, `predictions_unexplained` of them without a
    borderline spike, and not by a hair's breadth; `trained_differing` from the trained network's, whose weights may be
    finer. `flips` counts by layer and timestep the spikes that differ from the trained network's, each running freely.
    """

    samples: int
    layers: tuple[LayerComparison, ...]
    max_logit_difference: float
    max_watched_difference: float
    logit_tolerance: float
    predictions_differing: int
    predictions_unexplained: int
    trained_differing: int
    flips: Mapping[str, tuple[int, ...]]

    @property
    def total(self) -> StepComparison:
        """All layers and timesteps together."""
        return sum((layer.total for layer in self.layers), StepComparison())

    @property
    def agreement(self) -> float:
        """The share of samples for which the trained network predicts the same class."""
        return 1.0 - self.trained_differing / self.samples

    @property
    def first_fault(self) -> tuple[str, int] | None:
        """The first layer in the order of execution with a fault, and its first such timestep, from 0."""
        found = ((layer.path, layer.first_fault) for layer in self.layers)
        return next(((path, t) for path, t in found if t is not None), None)

    def problem(self) -> str | None:
        """What does not hold, in one sentence that names the first layer and timestep; None when all holds."""
        for layer in self.layers:
            if layer.first_fault is not None:
                total = layer.total
                return (
                    f"the spikes differ first in layer {layer.path!r} at timestep {layer.first_fault + 1}; in all its "
                    f"timesteps {total.faults:,} of {total.decisions:,} decisions do, up to "
                    f"{total.largest_distance:.3g} from the threshold"
                )
        if not self.max_logit_difference <= self.logit_tolerance:
            where = "every spike agrees, but the fault lies behind the last LIF layer: " if self.layers else ""
            return f"{where}the logits differ by {self.max_logit_difference:.3g} (allowed: {self.logit_tolerance:.3g})"
        if not self.max_watched_difference <= self.logit_tolerance:
            return (
                f"it computes other logits when its spikes are not watched, by {self.max_watched_difference:.3g} "
                f"(allowed: {self.logit_tolerance:.3g}): the engine changes it"
            )
        if self.predictions_unexplained:
            return f"{self.predictions_unexplained} of {self.samples} predictions differ where no spike is borderline"
        return None

    def check(self, what: Path | str) -> None:
        """Raise a VerificationError that names `what` if something does not hold."""
        problem = self.problem()
        if problem is not None:
            raise VerificationError(f"{what} is not the network it was made from: {problem}.")


def compare(
    graph: Path,
    reference: Reference,
    inputs: Array,
    timesteps: int,
    *,
    trained: nn.Module | None = None,
    frames: bool = False,
    rest: Mapping[str, float] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare the graph in an ONNX file with the network that it must equal, on real samples.

    Args:
        graph: a graph with the names that `unroll` gives, of all timesteps or of one.
        reference: the network, and how closely; it is not changed.
        inputs: `[M, ...]`, or `[M, T, ...]` where every timestep has a frame of its own; in the dtype of the graph's.
        timesteps: T of the graph, or how many steps a step graph is driven.
        trained: the network before its weights were rounded, where that is another.
        frames: whether every timestep has a frame of its own.
        rest: the state that a step graph starts from, by input name; zeros where it is not named.
        on_progress: called with the number of samples done.

    Raises:
        ArtifactError: the file is damaged, or ONNX Runtime cannot load it.
        VerificationError: the graph does not hold the network's LIF layers at this T.
    """
    replayed = Replayed(reference, timesteps, frames=frames)
    original = replayed if trained is None else Replayed(Reference(trained), timesteps, frames=frames)
    watched = WatchedGraph(graph, replayed.paths, timesteps, frames=frames, rest=rest)
    found = _Found(reference.rounding)
    for batch, real in batches(inputs, watched.batch_size):
        outputs = watched.run(batch)
        shipped = watched.run_as_shipped(batch)
        found.logits(outputs, replayed.run(batch, outputs.spikes, real), shipped, real)
        borderline = replayed.borderline_samples()
        free = replayed.run_freely(batch)
        wanted = free if original is replayed else original.run_freely(batch)
        found.predictions(outputs.logits, free, wanted, borderline, real)
        found.flipped(outputs.spikes, original.fired, real)
        if on_progress is not None:
            on_progress(found.samples)
    return found.result(tuple(replayed.results()))


class _Found:
    """What the batches so far showed."""

    def __init__(self, rounding: Rounding) -> None:
        self._rounding = rounding
        self.samples = 0
        self._logit_difference = self._watched_difference = self._largest_logit = 0.0
        self._differing = self._unexplained = self._trained_differing = 0
        self._flips: dict[str, list[int]] = {}

    def logits(self, outputs: Outputs, expected: Array, shipped: Array, real: int) -> None:
        """Compare with the network's logits `[T, real, K]` for the same spikes, and with the graph as shipped."""
        logits = outputs.logits[:real]
        differences = [self._logit_difference, _distance(logits, expected.mean(0))]
        if outputs.logits_per_step is not None:
            differences.append(_distance(outputs.logits_per_step[:, :real], expected))
        self._logit_difference = max(differences)
        self._watched_difference = max(self._watched_difference, _distance(logits, shipped[:real]))
        self._largest_logit = max(self._largest_logit, float(np.abs(expected).max()))

    def predictions(self, logits: Array, free: Array, trained: Array, borderline: Array, real: int) -> None:
        """Compare the predicted classes when everything runs freely; logits `[N, K]`, of the networks `[T, N, K]`."""
        predicted, wanted = logits[:real].argmax(1), free.mean(0)[:real]
        wrong = predicted != wanted.argmax(1)
        behind = wanted.max(1) - wanted[np.arange(real), predicted]
        close = behind <= 2.0 * self._rounding.logits * max(1.0, float(np.abs(wanted).max()))
        self._differing += int(wrong.sum())
        self._unexplained += int((wrong & ~borderline & ~close).sum())
        self._trained_differing += int((predicted != trained.mean(0)[:real].argmax(1)).sum())
        self.samples += real

    def flipped(self, spikes: dict[str, Array], trained: dict[str, Array], real: int) -> None:
        """Count the spikes that the trained network, running freely, does not share."""
        for path, own in spikes.items():
            theirs = trained[path].reshape(own.shape)
            counts = (own[:, :real] != theirs[:, :real]).reshape(len(own), -1).sum(1).tolist()
            before = self._flips.get(path, [0] * len(own))
            self._flips[path] = [a + b for a, b in zip(before, counts, strict=True)]

    def result(self, layers: tuple[LayerComparison, ...]) -> Comparison:
        """Everything together."""
        return Comparison(
            samples=self.samples,
            layers=layers,
            max_logit_difference=self._logit_difference,
            max_watched_difference=self._watched_difference,
            logit_tolerance=self._rounding.logits * max(1.0, self._largest_logit),
            predictions_differing=self._differing,
            predictions_unexplained=self._unexplained,
            trained_differing=self._trained_differing,
            flips={layer.path: tuple(self._flips[layer.path]) for layer in layers},
        )


def _distance(got: Array, expected: Array) -> float:
    """The largest absolute difference; infinite where a value is."""
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    return float(np.abs(got - expected).max())
