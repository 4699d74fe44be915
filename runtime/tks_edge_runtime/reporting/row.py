"""A row of a report: one artifact on one engine, measured.

Units: times in ms, energies in mJ, sizes in bytes, accuracies in percent with the counts beside them.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

from tks_edge_runtime.artifact import Accuracy, EvaluationSpec, variant
from tks_edge_runtime.backends import foreign_target
from tks_edge_runtime.energy import BOARD, GPU, PROCESSOR, EnergyUse
from tks_edge_runtime.energy_estimate import EnergyEstimate
from tks_edge_runtime.exit_measures import mean_steps
from tks_edge_runtime.layer_profile import LayerProfile
from tks_edge_runtime.manifest import LayerSpec
from tks_edge_runtime.measurement import ColdStart, PackedTraces, WarmUp
from tks_edge_runtime.session import SelfTest
from tks_edge_runtime.statistics import LatencySummary
from tks_edge_runtime.traces import unpack

OK, FAILED, NOT_EXPORTED = "ok", "failed to run", "failed to export"
STATUSES = (OK, FAILED, NOT_EXPORTED)


@dataclass(frozen=True)
class MeasuredAccuracy:
    """Top-1 accuracy over the evaluation set, with its 95 % Wilson interval `low` to `high`; all three in percent."""

    correct: int
    total: int
    percent: float
    low: float
    high: float

    def difference(self, other: MeasuredAccuracy) -> tuple[float, float]:
        """The 95 % interval of this accuracy minus the other's, in percentage points; one that holds 0 may be noise.

        The two are taken as independent samples, which is on the safe side for two networks on the same set.

        Source: R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in
        Medicine 17 (1998), method 10.
        """
        gained = self.percent - other.percent
        below = math.hypot(self.percent - self.low, other.high - other.percent)
        above = math.hypot(self.high - self.percent, other.percent - other.low)
        return gained - below, gained + above

    def within_noise_of(self, other: MeasuredAccuracy) -> bool:
        """Whether the interval of the difference holds 0."""
        low, high = self.difference(other)
        return low <= 0 <= high


@dataclass(frozen=True)
class EarlyExit:
    """How a step artifact was run with early exit, and when the samples of the evaluation set stopped.

    What is timed beside other rows is one batch, until its last sample stops; at batch 1 that is all there is to time.

    Attributes:
        measure, threshold: the rule, as of `tks_edge_runtime.exit_measures.ExitRule`.
        stopped: how many samples stopped at each step, 1 to T; None where there is no evaluation set.
        refilled_per_second: of larger batches, samples a second over the evaluation set, where each sample that stops
            leaves its place to the next one; measured once, and not in turns with other rows.
        expected_ms: the expected latency in ms; see `tks_edge_runtime.statistics.expected_latency`.
    """

    measure: str
    threshold: float
    stopped: tuple[int, ...] | None = None
    refilled_per_second: float | None = None
    expected_ms: float | None = None

    @property
    def mean_steps(self) -> float | None:
        """Timesteps a sample, on average."""
        return None if self.stopped is None else mean_steps(self.stopped)


@dataclass(frozen=True)
class Row:
    """One artifact on one engine: what it is, how accurate, how fast, and how it stands among the others.

    Times and energies are of one static batch and all its timesteps.

    Attributes:
        file: its name; what it would be called where it could not be exported, with `sha256` None and `size_bytes` 0.
        name: the run it was exported from; `model` is the network's name in the registry.
        timesteps: T; with early exit the most.
        form, target: the manifest's.
        cuda_graph: whether the launches of a run were replayed as one; None where the backend has no such thing. An
            artifact that was measured both ways has two rows.
        status: one of `STATUSES`. A row that failed has the `reason`, and neither accuracy nor latency: it could not be
            exported, opened or run, or its self-test did not hold.
        recorded_accuracy, recorded_train_accuracy: the trained network's own, from the manifest.
        latency: end to end, from the input array on the host to the logits on the host.
        compute, enqueue, copies: as in `Measurement`.
        energy: measured, by source; `estimate` is made from `layers`, and apart from it.
        turn: rows of one turn were interleaved. Where a report has several, `anchor_ms` is the median of one and the
            same artifact in the turn of this row, by which latencies of different turns are set into relation.
        engine: the backend, and the device where it has several; None where all rows of the report have the same.
        early_exit: how its samples stopped, of a step artifact that was run so.
        layer_profile: where its time goes; of a few rows of a report only.
    """

    file: str
    sha256: str | None
    name: str
    model: str
    neuron: str
    is_twin: bool
    timesteps: int
    train_timesteps: int
    precision: str
    form: str
    target: str
    backend: str
    device: str
    cuda_graph: bool | None
    batch_size: int
    size_bytes: int
    parameters: int
    classes: tuple[str, ...]
    evaluation: EvaluationSpec | None
    status: str
    reason: str | None
    self_test: SelfTest | None
    accuracy: MeasuredAccuracy | None = None
    recorded_accuracy: Accuracy | None = None
    recorded_train_accuracy: Accuracy | None = None
    accuracy_as_trained: bool | None = None
    latency: LatencySummary | None = None
    compute: LatencySummary | None = None
    enqueue: LatencySummary | None = None
    copies: LatencySummary | None = None
    cpu_ms: float | None = None
    cpu_ms_min: float | None = None
    energy: tuple[EnergyUse, ...] = ()
    cold_start: ColdStart | None = None
    warm_up: WarmUp | None = None
    twin: str | None = None
    ratio_to_twin: float | None = None
    pareto: bool = False
    recommended: bool = False
    warnings: tuple[str, ...] = ()
    unstable: bool = False
    traces: PackedTraces | None = None
    weights_sha256: str | None = None
    turn: int = 0
    anchor_ms: float | None = None
    engine: str | None = None
    early_exit: EarlyExit | None = None
    estimate: EnergyEstimate | None = None
    layers: tuple[LayerSpec, ...] = ()
    layer_profile: LayerProfile | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from every other row of its report: the file, what runs it, and how."""
        return self.file, self.backend, self.device, self.cuda_graph, self.early_exit is not None

    @property
    def label(self) -> str:
        """Its file, and what runs it where the report has several."""
        graph = " with a CUDA graph" if self.cuda_graph else ""
        early = " with early exit" if self.early_exit is not None else ""
        return self.file + (f" on {self.engine}" if self.engine else "") + graph + early

    @property
    def trace_ms(self) -> array[float]:
        """Every timed run in ms, end to end, in order; empty where nothing was timed."""
        return unpack(self.traces.e2e) if self.traces is not None else array("d")

    def energy_by(self, source: str) -> EnergyUse | None:
        """What a run took by the source of that name, where it was measured."""
        return next((use for use in self.energy if use.source == source), None)

    @property
    def typical(self) -> float | None:
        """The end-to-end latency in ms that rows are compared by, where it was measured.

        The median; of early exit, whose runs differ in length, the expected latency: where most stop after one step,
        the median would say nothing of the others.
        """
        if self.early_exit is not None:
            return self.early_exit.expected_ms
        return None if self.latency is None else self.latency.p50

    @property
    def typical_name(self) -> str:
        """What `typical` is: "median" or "expected"."""
        return "median" if self.early_exit is None else "expected"

    def across_turns(self, milliseconds: float) -> float:
        """A latency of this row, in a unit that it has in common with those of other turns: its turn's anchor."""
        return milliseconds / self.anchor_ms if self.anchor_ms else milliseconds

    @property
    def main_energy(self) -> EnergyUse | None:
        """The measured energy that rows are compared by: of the whole board, or else of what it computed on.

        None where several sources may be that: of two GPUs, one that idles takes nothing.
        """
        place = {"cpu": PROCESSOR, "cuda": GPU, "tensorrt": GPU}.get(self.device)
        for covers in (BOARD, place):
            found = [use for use in self.energy if use.covers == covers]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    @property
    def point(self) -> tuple[float, float] | None:
        """(typical latency in ms, accuracy in percent), where both were measured."""
        return None if self.typical is None or self.accuracy is None else (self.typical, self.accuracy.percent)

    @property
    def foreign(self) -> str | None:
        """That its graph was lowered for another engine than the one that runs it, in words; None where it fits."""
        return foreign_target(self.target, self.backend, self.device)

    @property
    def variant(self) -> str:
        """What tells it from other rows of its network and T, in words: `fp32`, `int8 openvino`, `fp32 CUDA graph`."""
        told = self.engine and self.target not in (self.engine, f"{self.backend}-{self.device}")
        words = [variant(self.precision, self.form, self.target), *([f"on {self.engine}"] if told else [])]
        words += ["CUDA graph"] * bool(self.cuda_graph) + ["early exit"] * (self.early_exit is not None)
        return " ".join(words)

    @property
    def pace(self) -> str:
        """How many timesteps it runs, in words: `T=2`, or with early exit `T<=8`."""
        return f"T{'=' if self.early_exit is None else '<='}{self.timesteps}"

    @property
    def as_trained(self) -> bool:
        """Whether it runs all timesteps that it was trained at."""
        return self.timesteps == self.train_timesteps and self.early_exit is None

    @property
    def title(self) -> str:
        """The row in words: `digits T=2 fp32`."""
        return f"{self.name} {'ReLU twin' if self.is_twin else self.pace} {self.variant}"
