"""Rows and documents made by hand, for tests of what a report says about known numbers."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console

from tks_edge_runtime.artifact import GENERIC, STATIC, STEP, Accuracy, EvaluationSpec, artifact_stem
from tks_edge_runtime.energy import EnergyUse
from tks_edge_runtime.measurement import ColdStart, PackedTraces, WarmUp
from tks_edge_runtime.reporting.conclusion import conclude
from tks_edge_runtime.reporting.document import SCHEMA_VERSION, Backend, DeviceStates, ReportDocument
from tks_edge_runtime.reporting.mixed import compares
from tks_edge_runtime.reporting.pick import pick
from tks_edge_runtime.reporting.ranking import measured, ranked
from tks_edge_runtime.reporting.row import FAILED, Row
from tks_edge_runtime.reporting.table import print_report
from tks_edge_runtime.session import SelfTest
from tks_edge_runtime.statistics import summarize
from tks_edge_runtime.traces import pack

EVALUATION = EvaluationSpec("digits", "test", 597, "e" * 64, "digits-test-eeee.eval.npz")


def trace(median: float, samples: int = 2000) -> tuple[float, ...]:
    """Draw latencies in ms: a narrow body around `median`, and a tail of slow runs."""
    generator = random.Random(round(median * 1e6))  # noqa: S311 - a trace, not a secret
    values = [median * generator.lognormvariate(0, 0.03) for _ in range(samples)]
    for index in range(0, samples, 50):
        values[index] *= 1 + generator.expovariate(1)
    return tuple(round(value, 6) for value in values)


def row(timesteps: int, correct: int | None, median: float, *, total: int = 597, **fields: Any) -> Row:
    """Build a spiking row of the network `digits`, trained at T=8; without `correct` it has no accuracy."""
    name = str(fields.get("name", "digits"))
    latencies = trace(median, fields.pop("samples", 2000))
    compute = tuple(0.75 * latency for latency in latencies)
    stem = artifact_stem(
        name,
        timesteps,
        str(fields.get("precision", "fp32")),
        form=str(fields.get("form", STATIC)),
        target=str(fields.get("target", GENERIC)),
    )
    if (early_exit := fields.get("early_exit")) is not None and early_exit.expected_ms is None:
        fields["early_exit"] = dataclasses.replace(early_exit, expected_ms=summarize(latencies).mean)
    given: dict[str, Any] = {
        "file": f"{stem}.onnx",
        "sha256": "a" * 64,
        "name": name,
        "model": "tiny",
        "neuron": "lif",
        "is_twin": False,
        "timesteps": timesteps,
        "train_timesteps": 8,
        "precision": "fp32",
        "form": STATIC,
        "target": GENERIC,
        "backend": "onnxruntime",
        "device": "cpu",
        "cuda_graph": None,
        "batch_size": 1,
        "size_bytes": 123_456,
        "parameters": 39_850,
        "classes": tuple("0123456789"),
        "evaluation": EVALUATION,
        "status": "ok",
        "reason": None,
        "self_test": SelfTest(1e-6, 1e-4, passed=True),
        "accuracy": None if correct is None else measured(correct, total),
        "recorded_accuracy": None if correct is None else Accuracy(timesteps, correct, total),
        "accuracy_as_trained": None if correct is None else True,
        "latency": summarize(latencies),
        "compute": summarize(compute),
        "cpu_ms": median * 1.1,
        "cpu_ms_min": median,
        "cold_start": ColdStart(12.5, 3.25),
        "warm_up": WarmUp(1.2, 900, steady=True),
        "traces": PackedTraces(pack(latencies), pack(compute)),
    }
    return Row(**{**given, **fields})


def twin(correct: int | None, median: float, **fields: Any) -> Row:
    """Build the ReLU twin of `digits`."""
    given = {"name": "digits-relu", "neuron": "relu", "is_twin": True, "train_timesteps": 1, **fields}
    return row(1, correct, median, **given)


def failed(timesteps: int, **fields: Any) -> Row:
    """Build a row whose self-test did not hold."""
    given = {
        "status": FAILED,
        "reason": "self-test failed: the logits differ by 3",
        "self_test": SelfTest(3.0, 1e-4, passed=False),
        "latency": None,
        "compute": None,
        "cpu_ms": None,
        "cpu_ms_min": None,
        "cold_start": None,
        "warm_up": None,
        "traces": None,
        **fields,
    }
    return row(timesteps, None, 1.0, **given)


def document(rows: Sequence[Row], **fields: Any) -> ReportDocument:
    """Rank the rows, conclude, and wrap them into a document of a made-up machine."""
    state = {"time": 1.0, "load": [0.5, 0.25, 0.1], "clock_mhz": {"min": 2000.0, "max": 2500.0}, "temperatures_c": None}
    ordered = ranked(rows)
    given: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "tks-edge", "version": "0.1.0"},
        "command": "tks-edge report artifacts/ --preset quick --output report/",
        "created": "2026-01-02T03:04:05+00:00",
        "preset": "quick",
        "seconds": 3.0,
        "method": ("Single stream.", "Interleaved."),
        "machine": {"cpu": "a CPU", "memory_bytes": 8_000_000_000, "governors": None},
        "backends": (Backend("onnxruntime", "cpu", 1, {"library": "onnxruntime", "version": "1.20"}),),
        "device_state": DeviceStates(state, (state, {**state, "clock_mhz": {"min": 1900.0, "max": 2600.0}}), state),
        "answer": pick(ordered) if compares(ordered) else None,
        "conclusions": conclude(ordered),
        "rows": ordered,
    }
    return ReportDocument(**{**given, **fields})


def sweep() -> list[Row]:
    """Build the usual folder: one network at four T, and its twin, slower than none of them."""
    return [
        row(1, 579, 0.052),
        row(2, 586, 0.101, warnings=("latency varies: standard deviation 5.0% of the mean (more than 2.5%)",)),
        row(4, 588, 0.197),
        row(8, 589, 0.402),
        twin(590, 0.049),
    ]


def side_by_side() -> list[Row]:
    """Build a folder of everything: three precisions, two forms, two targets, and a twin in each precision."""
    rows = []
    for precision, factor, lost in (("fp32", 1.0, 0), ("fp16", 0.9, 1), ("int8", 0.4, 3)):
        rows += [
            row(1, 579 - lost, 0.052 * factor, precision=precision),
            row(2, 586 - lost, 0.101 * factor, precision=precision),
            row(8, 589 - lost, 0.402 * factor, precision=precision),
            row(8, 589 - lost, 0.423 * factor, precision=precision, form=STEP),
        ]
    rows += [row(2, 582, 0.036, precision="int8", target="onnxruntime-cpu")]
    return [*rows, twin(590, 0.049), twin(590, 0.044, precision="fp16"), twin(588, 0.015, precision="int8")]


RAIL = "module rail VDD_IN, not wall"


def on_a_gpu() -> list[Row]:
    """Build a folder measured on a device, without and with a CUDA graph, its energy read off a rail."""
    rows = []
    for cuda_graph, factor in ((False, 1.0), (True, 0.4)):
        for made in (row(1, 579, 0.21 * factor), row(2, 586, 0.4 * factor), row(8, 589, 1.5 * factor), twin(590, 0.2)):
            assert made.latency is not None
            enqueue, copies = (summarize([share * made.latency.p50] * 2000) for share in (0.5, 0.05))
            energy = EnergyUse("vdd_in", RAIL, "board", 5.0 * made.latency.p50, 0.1, 6, 9.0, 4.0)
            rows.append(
                dataclasses.replace(
                    made, backend="tensorrt", device="cuda", cuda_graph=cuda_graph, enqueue=enqueue, copies=copies,
                    energy=(energy,), cold_start=ColdStart(40_000.0, 3.25, 38_500.0),
                )
            )  # fmt: skip
    return rows


HOSTILE = "<script>alert('1')</script>|$x_1$ **b** [a](b) \"q\" & `c`"


def everything() -> list[Row]:
    """A folder in which whatever can go wrong has."""
    return [
        *sweep(),
        failed(2, name="broken"),
        row(4, None, 0.3, name="unknown", evaluation=None, samples=20, unstable=True, warnings=("no evaluation set",)),
        row(
            1, 500, 9.0, name=HOSTILE, precision="int8", classes=(HOSTILE,), file=f"{HOSTILE}.onnx", warnings=(HOSTILE,)
        ),
        row(8, 500, 9.5, name=HOSTILE, precision="int8", classes=(HOSTILE,), samples=50),
    ]


def printed(made: ReportDocument, width: int) -> str:
    """What a terminal of so many columns shows."""
    text = StringIO()
    print_report(made, Console(file=text, width=width, no_color=True))
    return text.getvalue()
