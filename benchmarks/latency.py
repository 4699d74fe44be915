"""Latency of the unrolled graphs against the ReLU twin and against a plain export of the T-loop, in ONNX Runtime.

Every variant runs in this process, on one thread, in turn: one run each a round, in an order that reverses every round.
What is compared is the process's CPU time, the least over all rounds, as a ratio to the fp32 ReLU twin: on a shared
machine it is the figure that neighbours disturb least. The median wall time stands beside it. The weights are random,
and the batch norms have seen random images, so every layer fires.

    python benchmarks/latency.py [--rounds 40] [--output latency.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, nn

from tks_edge_export import export_graph
from tks_edge_models import Network, create

NETWORKS = (("tiny", 16, (1, 2, 4, 8)), ("sew_resnet18", 32, (1, 2, 4)))
Run = Callable[[], object]


class MeanOverTime(nn.Module):
    """What a user exports today: the network with its loop over T, traced as it is."""

    def __init__(self, network: Network, timesteps: int) -> None:
        super().__init__()
        self.network = network
        self.timesteps = timesteps

    def forward(self, pixels: Tensor) -> Tensor:
        """Run all timesteps and take the mean."""
        logits: Tensor = self.network(pixels, self.timesteps).mean(0)
        return logits


def calibrated(name: str, size: int, neuron: str) -> Network:
    """The network with random weights and the batch-norm statistics of random images."""
    torch.manual_seed(0)
    network = create(name, num_classes=10, image_size=size, neuron=neuron)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(torch.randint(0, 256, (16, 3, size, size), dtype=torch.uint8), 1 if neuron == "relu" else 4)
    return network.eval()


def runner(graph: bytes, pixels: np.ndarray[Any, Any]) -> Run:
    """A run of the graph in ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: pixels}
    return lambda: session.run(None, feeds)


def variants(name: str, size: int, timesteps: tuple[int, ...]) -> dict[str, Run]:
    """Every graph that is compared, by a name that says what it is."""
    example = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    spiking, twin = calibrated(name, size, "lif"), calibrated(name, size, "relu")

    def ours(network: Network, t: int) -> Run:
        return runner(ir.to_proto(export_graph(network, example, t)[0]).SerializeToString(), example.numpy())

    def plain(t: int) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plain.onnx"
            torch.onnx.export(
                MeanOverTime(spiking, t).eval(), (example,), path, dynamo=True, external_data=False, verbose=False
            )
            return runner(path.read_bytes(), example.numpy())

    found = {"ReLU twin": ours(twin, 1)}
    for t in timesteps:
        found[f"ours, T={t}"] = ours(spiking, t)
        found[f"plain export of the loop, T={t}"] = plain(t)
    return found


def measure(runs: dict[str, Run], rounds: int) -> dict[str, dict[str, float]]:
    """CPU and wall milliseconds of one run of each, interleaved."""
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    wall: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds + 3):
        for name in runs if index % 2 else reversed(runs):
            repeats = 5
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                runs[name]()
            if index >= 3:  # the first rounds warm up
                cpu[name].append(1e3 * (time.process_time() - cpu_start) / repeats)
                wall[name].append(1e3 * (time.perf_counter() - wall_start) / repeats)
    base = min(cpu["ReLU twin"])
    return {
        name: {"ratio": min(cpu[name]) / base, "cpu_ms": min(cpu[name]), "wall_ms": statistics.median(wall[name])}
        for name in runs
    }


def main() -> None:
    """Measure, print a table, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "machine": platform.machine()}
    results: dict[str, Any] = {"versions": versions}
    for name, size, timesteps in NETWORKS:
        rows = measure(variants(name, size, timesteps), arguments.rounds)
        results[f"{name} at {size}x{size}"] = rows
        print(f"\n{name} at {size}x{size}: ratio to the ReLU twin, CPU ms (least), wall ms (median)")
        for variant, row in rows.items():
            print(f"  {variant:34} {row['ratio']:6.2f} {row['cpu_ms']:9.3f} {row['wall_ms']:9.3f}")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
