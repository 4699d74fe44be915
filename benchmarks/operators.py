"""Where a graph's time goes, by operator: ONNX Runtime's profile, and OpenVINO's counters.

Both say what they ran after fusing: a convolution may hold the batch norm, the ReLU or the neuron behind it.

    python -m benchmarks.operators [--network sew_resnet18@32] [--timesteps 4] [--only int8]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.document import status
from tks_edge_runtime.errors import MissingError

_WARM_UP = 5
_RUNS = 30
_SMALLEST_SHARE = 0.005
Spent = Counter[str]
"""Milliseconds of one run, by operator."""


def _onnxruntime(graph: Path, image: npt.NDArray[Any], runs: int) -> Spent:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(graph.with_suffix(""))
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    for _ in range(_WARM_UP + runs):
        session.run(None, {session.get_inputs()[0].name: image})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    spent: Spent = Counter()
    # The same nodes at every run: those of the warm-up come first.
    for event in nodes[len(nodes) * _WARM_UP // (_WARM_UP + runs) :]:
        spent[event["args"]["op_name"]] += event["dur"] / 1e3 / runs
    return spent


def _openvino(graph: Path, image: npt.NDArray[Any], runs: int) -> Spent:
    try:
        import openvino  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingError("OpenVINO is not installed here: pip install '.[bench]'") from error

    properties = {"PERF_COUNT": True, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.compile_model(graph, "CPU", properties).create_infer_request()
    spent: Spent = Counter()
    for index in range(_WARM_UP + runs):
        request.infer([image])
        if index >= _WARM_UP:
            for node in request.get_profiling_info():
                spent[f"{node.node_type} {node.exec_type}"] += node.real_time.total_seconds() * 1e3 / runs
    return spent


_ENGINES: dict[str, Callable[[Path, npt.NDArray[Any], int], Spent]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _table(spent: Spent) -> str:
    total = spent.total()
    shown = [(name, ms) for name, ms in spent.most_common() if ms >= _SMALLEST_SHARE * total]
    rows = [*shown, ("the rest", total - sum(ms for _, ms in shown))]
    lines = ["| operator | ms | share |", "|---|---|---|"]
    lines += [f"| {name} | {ms:.2f} | {ms / total:.1%} |" for name, ms in rows]
    return "\n".join([*lines, f"| all | {total:.2f} | |"])


def _measure(arguments: argparse.Namespace) -> None:
    from benchmarks.networks import find
    from benchmarks.variants import VARIANTS, Case

    with tempfile.TemporaryDirectory(prefix="tks-edge-operators-") as folder:
        case = Case(find(arguments.network), Path(folder))
        for variant in VARIANTS:
            name = f"{variant.name}, {variant.engine}, {variant.precision}, {variant.target}"
            if not variant.target or variant.form == "step" or arguments.only.lower() not in name.lower():
                continue
            timesteps = 1 if variant.is_twin else arguments.timesteps
            graph = Path(variant.job(variant, case, timesteps).graph)
            spent = _ENGINES[variant.engine](graph, np.ascontiguousarray(case.images[:1]), _RUNS)
            print(f"{arguments.network}, T={timesteps}, one thread: {name}\n\n{_table(spent)}\n", flush=True)


def main() -> int:
    """Profile every static graph of tks-edge that is asked for, one after the other; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="sew_resnet18@32", help="name with the image's size [%(default)s]")
    parser.add_argument("--timesteps", type=int, default=4, help="T [%(default)s]")
    parser.add_argument("--only", default="", help="variants whose name, engine or precision contains this")
    arguments = parser.parse_args()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
