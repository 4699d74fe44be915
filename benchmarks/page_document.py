"""A report of a made-up sweep, as large as asked for: rows, traces and samples of the sizes that a real one has."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tks_edge_runtime.artifact import STATIC, Accuracy, EvaluationSpec, artifact_stem
from tks_edge_runtime.measurement import ColdStart, PackedTraces, WarmUp
from tks_edge_runtime.reporting.conclusion import conclude
from tks_edge_runtime.reporting.document import SCHEMA_VERSION, Backend, DeviceStates, ReportDocument
from tks_edge_runtime.reporting.pick import pick
from tks_edge_runtime.reporting.ranking import measured, ranked
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.session import SelfTest
from tks_edge_runtime.statistics import summarize
from tks_edge_runtime.traces import pack

_SECONDS = 3.0
_TOTAL = 10_000
_TRAIN = 8
_EVALUATION = EvaluationSpec("cifar10", "test", _TOTAL, "e" * 64, "cifar10-test-eeee.eval.npz")
_NETWORKS = {"sew-cifar10-tks": ("sew_resnet18", 2.0, 9_420), "resnet19-cifar10-tks": ("resnet19", 5.0, 9_510)}
"""By name: the model, the latency of its twin in ms, and how many of the samples it gets right at T = 8."""
_PRECISIONS = {"fp32": (1.0, 0), "fp16": (0.9, 4), "int8": (0.55, 25)}
"""By name: the latency in units of that in fp32, and how many samples less are right."""
_LOWERINGS = {
    ("generic", "onnxruntime"): 1.0,
    ("onnxruntime-cpu", "onnxruntime"): 0.85,
    ("openvino", "openvino"): 0.8,
    ("tensorrt", "tensorrt"): 0.4,
}
"""By target and backend: the latency in units of the first."""
_TWINS = (*((precision, ("generic", "onnxruntime")) for precision in _PRECISIONS), ("fp32", ("openvino", "openvino")))
_WARNING = "latency varies: standard deviation 12.1% of the mean (more than 2.5%)"


def page_document(rows: int) -> ReportDocument:
    """The report of a sweep with that many rows: T from 1 on, in each precision and for each target, and the twins."""
    ordered = ranked(itertools.islice(_rows(), rows))
    states = [_state(second) for second in range(round(rows * _SECONDS))]
    return ReportDocument(
        schema_version=SCHEMA_VERSION,
        tool={"name": "tks-edge", "version": "0"},
        command="python -m benchmarks.page",
        created="2026-01-02T03:04:05+00:00",
        preset="quick",
        seconds=_SECONDS,
        method=("Nothing here was measured: the rows are made up, to see what a page of this size takes.",),
        machine={"cpu": "made up", "cores_logical": 8},
        backends=(Backend("onnxruntime", "cpu", 1, {"library": "made up"}),),
        device_state=DeviceStates(states[0], tuple(states), states[-1]),
        answer=pick(ordered),
        conclusions=conclude(ordered),
        rows=ordered,
    )


def _rows() -> Iterator[Row]:
    """The twins, then row after row with a growing T."""
    for (name, (model, twin_ms, correct)), (precision, lowering) in itertools.product(_NETWORKS.items(), _TWINS):
        (speed, lost), factor = _PRECISIONS[precision], _LOWERINGS[lowering]
        row = _row(f"{name}-relu", model, 1, precision, lowering, twin_ms * speed * factor, correct + 30 - lost)
        yield replace(row, neuron="relu", is_twin=True, train_timesteps=1)
    for timesteps in itertools.count(1):
        for (name, network), (precision, about), (lowering, factor) in itertools.product(
            _NETWORKS.items(), _PRECISIONS.items(), _LOWERINGS.items()
        ):
            (model, twin_ms, correct), (speed, lost) = network, about
            median = twin_ms * speed * factor * (0.3 + 0.55 * timesteps)
            right = correct - lost - round(260 / timesteps**1.5) + round(260 / _TRAIN**1.5)
            yield _row(name, model, timesteps, precision, lowering, median, right)


def _row(
    name: str, model: str, timesteps: int, precision: str, lowering: tuple[str, str], median: float, correct: int
) -> Row:
    target, backend = lowering
    stem = artifact_stem(name, timesteps, precision, form=STATIC, target=target)
    generator = np.random.default_rng(zlib.crc32(stem.encode()))
    runs = round(1000 * _SECONDS / median)
    slow = np.where(generator.random(runs) < 0.02, 1 + generator.exponential(1.0, runs), 1.0)
    times = (median * generator.lognormal(0.0, 0.05, runs) * slow).tolist()
    compute = [0.9 * time for time in times]
    return Row(
        file=f"{stem}.onnx",
        sha256=f"{zlib.crc32(stem.encode()):08x}" * 8,
        name=name,
        model=model,
        neuron="lif",
        is_twin=False,
        timesteps=timesteps,
        train_timesteps=_TRAIN,
        precision=precision,
        form=STATIC,
        target=target,
        backend=backend,
        device="cpu",
        cuda_graph=None,
        batch_size=1,
        size_bytes=44_700_000,
        parameters=11_173_962,
        classes=tuple(f"class {index}" for index in range(10)),
        evaluation=_EVALUATION,
        status="ok",
        reason=None,
        self_test=SelfTest(1e-6, 1e-4, passed=True),
        accuracy=measured(correct, _TOTAL),
        recorded_accuracy=Accuracy(timesteps, correct, _TOTAL),
        accuracy_as_trained=True if precision == "fp32" else None,
        latency=summarize(times),
        compute=summarize(compute),
        cpu_ms=median,
        cpu_ms_min=0.95 * median,
        cold_start=ColdStart(412.5, 23.25),
        warm_up=WarmUp(1.2, 900, steady=True),
        warnings=(_WARNING,) if timesteps % 2 else (),
        traces=PackedTraces(pack(times), pack(compute)),
    )


def _state(second: int) -> dict[str, Any]:
    """A snapshot as a board gives it."""
    wave = float(np.sin(second / 40))
    zones = ("cpu-thermal", "gpu-thermal", "soc0-thermal", "soc1-thermal", "tj-thermal")
    return {
        "time": 1_800_000_000.0 + second,
        "load": [1.0 + 0.3 * wave, 0.9, 0.5],
        "memory_available_bytes": 5_000_000_000 + second,
        "clock_mhz": {"min": 1510.4, "mean": 1510.4 + wave, "max": 1510.4 + 2 * wave},
        "governors": ["schedutil"],
        "throttle_counts": None,
        "temperatures_c": {zone: 48 + index + 4 * wave for index, zone in enumerate(zones)},
    }
