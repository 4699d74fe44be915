"""The report document: everything a report says, as plain data. Its JSON form is described by report.schema.json.

Units: times in ms, durations in s, sizes in bytes, accuracies in percent with the counts beside them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from array import array
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tks_edge_runtime.artifact import Accuracy, EvaluationSpec, variant
from tks_edge_runtime.energy import EnergyUse
from tks_edge_runtime.measurement import ColdStart, PackedTraces, WarmUp
from tks_edge_runtime.session import SelfTest
from tks_edge_runtime.statistics import LatencySummary
from tks_edge_runtime.traces import unpack

SCHEMA_VERSION = 2
OK, FAILED = "ok", "failed"


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
class Row:
    """One artifact on one device: what it is, how accurate, how fast, and how it stands among the others.

    A row whose self-test failed has `status` "failed", the `reason`, and neither accuracy nor latency. `name` is the
    run it was exported from, `model` the network's name in the registry; `form` ("static" or "step") and `target` are
    the manifest's. `cuda_graph` says whether the launches of a run were replayed as one; it is None where the backend
    has no such thing, and an artifact that was measured both ways has two rows. The recorded accuracies are the trained
    network's own, from the manifest. Times and energies are of one static batch and all its timesteps: `latency` end
    to end, from the input array on the host to the logits on the host; `compute`, `enqueue` and `copies` as in
    `Measurement`.
    """

    file: str
    sha256: str
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

    @property
    def key(self) -> tuple[str, bool | None]:
        """What tells it from every other row of its report: the file, and whether a CUDA graph replayed it."""
        return self.file, self.cuda_graph

    @property
    def label(self) -> str:
        """Its file, and the CUDA graph where one replayed it."""
        return f"{self.file} with a CUDA graph" if self.cuda_graph else self.file

    @property
    def trace_ms(self) -> array[float]:
        """Every timed run in ms, end to end, in order; empty where nothing was timed."""
        return unpack(self.traces.e2e) if self.traces is not None else array("d")

    def energy_by(self, source: str) -> EnergyUse | None:
        """What a run took by the source of that name, where it was measured."""
        return next((use for use in self.energy if use.source == source), None)

    @property
    def median(self) -> float | None:
        """The median end-to-end latency in ms, where it was measured."""
        return None if self.latency is None else self.latency.p50

    @property
    def point(self) -> tuple[float, float] | None:
        """(median latency in ms, accuracy in percent), where both were measured."""
        return None if self.latency is None or self.accuracy is None else (self.latency.p50, self.accuracy.percent)

    @property
    def variant(self) -> str:
        """What tells it from other rows of its network and T, in words: `fp32`, `int8 openvino`, `fp32 CUDA graph`."""
        return variant(self.precision, self.form, self.target) + (" CUDA graph" if self.cuda_graph else "")

    @property
    def title(self) -> str:
        """The row in words: `digits T=2 fp32`."""
        return f"{self.name} {'ReLU twin' if self.is_twin else f'T={self.timesteps}'} {self.variant}"


@dataclass(frozen=True)
class Conclusion:
    """What to ship of one network at one precision, in sentences.

    `verdict` is "ship" (no twin to compare with, or the spiking network is the better choice), "tie", "trade" (slower
    and more accurate than its ReLU twin, or the reverse), "twin" (the twin is the better choice), or "none" (no T can
    be recommended); accuracies that differ within noise count as equal. `file` and `timesteps` are the recommended
    artifact's, where there is one.
    """

    name: str
    precision: str
    verdict: str
    file: str | None
    timesteps: int | None
    headline: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class DeviceStates:
    """The state of the machine before, during (sampled while measuring) and after."""

    before: dict[str, Any]
    during: tuple[dict[str, Any], ...]
    after: dict[str, Any]


@dataclass(frozen=True)
class Backend:
    """What ran the artifacts: its name, its device, the threads asked for (None: its own choice), and its own words."""

    name: str
    device: str
    threads: int | None
    description: dict[str, str]


@dataclass(frozen=True)
class ReportDocument:
    """A whole report. `created` is UTC in ISO 8601; `seconds` is the measuring time of the preset for each row."""

    schema_version: int
    tool: dict[str, str]
    command: str
    created: str
    preset: str
    seconds: float
    method: tuple[str, ...]
    machine: dict[str, Any]
    backend: Backend
    device_state: DeviceStates
    conclusions: tuple[Conclusion, ...]
    rows: tuple[Row, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows whose self-test did not hold."""
        return tuple(row for row in self.rows if row.status == FAILED)

    @property
    def unstable(self) -> tuple[Row, ...]:
        """The rows during which the machine was throttled, or a clock fell."""
        return tuple(row for row in self.rows if row.unstable)

    def to_dict(self, *, traces: bool = True) -> dict[str, Any]:
        """The document as JSON types; NaN and infinity become null. Without `traces` every row's is null."""
        document: dict[str, Any] = _plain(dataclasses.asdict(self))
        if not traces:
            for row in document["rows"]:
                row["traces"] = None
        return document

    def to_json(self) -> str:
        """The whole document as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """`value` in the types of JSON: JSON has no tuple, NaN or infinity."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else str(value)


def schema() -> dict[str, Any]:
    """The JSON Schema of the document, as published with the package."""
    text = resources.files(__package__).joinpath("report.schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
