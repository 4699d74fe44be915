"""Where the time of an inference goes, layer by layer, from the engine's own profiler.

The profiled engine is a session of its own, opened for this alone. Its profiler takes time at every node, so its sum is
more than a run without it takes; the shares are what it is for.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import FRAMES, STEP, Artifact, LayerSpec, Manifest
from tks_edge_runtime.backends import Engine, NodeTime, find_backend, find_device, open_engine
from tks_edge_runtime.contract import check_ports, timesteps_of
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.graph_check import check_graph
from tks_edge_runtime.layer_attribution import Attribution
from tks_edge_runtime.layer_table import LayerTable, layer_table
from tks_edge_runtime.measure import artifact_batches
from tks_edge_runtime.session import DEFAULT_BACKEND

Array = npt.NDArray[Any]
OTHER = "other"
"""What belongs to no layer: the normalisation, poolings, joins, the readout, and what an engine adds by itself."""
RUNS = 30
"""How many runs are looked at, after a few that are not."""
_WARM_UP = 5
CLOCKS = {
    ("onnxruntime", "cpu"): "ONNX Runtime's profiler: the host's clock around each node",
    ("onnxruntime", "cuda"): "ONNX Runtime's profiler: what the host takes to launch each node, not the GPU to run it",
    ("onnxruntime", "tensorrt"): "ONNX Runtime's profiler, for which all that TensorRT computes is one node",
    ("openvino", "cpu"): "OpenVINO's performance counters, means over all runs but the first, in whole us",
    ("openvino", "gpu"): "OpenVINO's performance counters, means over all runs but the first, in whole us",
    ("tensorrt", "cuda"): "TensorRT's profiler: the device's clock around each layer",
}
"""What each profiler measures, by backend and device."""


@dataclass(frozen=True)
class EngineNode:
    """A node of the engine: its name, the paths of all layers that it computes, and its median time, in ms."""

    name: str
    layers: tuple[str, ...]
    ms: float


@dataclass(frozen=True)
class LayerTime:
    """What one layer took.

    Attributes:
        path: its module path, or `OTHER`.
        ms: the median over the runs, in ms, of one batch over all its timesteps.
        share: of the sum of all layers.
        nodes: the engine's nodes that went into it.
        layer: what the manifest says of it; None of `OTHER`.
    """

    path: str
    ms: float
    share: float
    nodes: tuple[EngineNode, ...]
    layer: LayerSpec | None

    @property
    def rate(self) -> float | None:
        """Spikes a neuron and timestep where it is one of neurons, else the rate of its input; None where unknown."""
        if self.layer is None:
            return None
        return self.layer.input_rate if self.layer.fire_rate is None else self.layer.fire_rate


@dataclass(frozen=True)
class LayerProfile:
    """Where the time of one batch goes.

    Attributes:
        backend: what ran it.
        device: where.
        timesteps: the T that it ran at.
        runs: how many runs the medians are of.
        layers: in the order of execution, `OTHER` the last; layers that took no time by themselves are there too.
        sum_ms: the sum of their times, in ms.
        run_ms: the median of what the profiler said of all nodes of a run together, in ms.
        unprofiled_ms: what a run takes without the profiler, in ms, where the caller measured it.
        method: what the times were taken by, in words.
    """

    backend: str
    device: str
    timesteps: int
    runs: int
    layers: tuple[LayerTime, ...]
    sum_ms: float
    run_ms: float
    unprofiled_ms: float | None
    method: str

    @property
    def table(self) -> LayerTable:
        """As a table of words."""
        return layer_table(self)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        return dataclasses.asdict(self)


def profile_layers(
    path: Path | str,
    backend: str = DEFAULT_BACKEND,
    device: str | None = None,
    threads: int | None = None,
    *,
    steps: int | None = None,
    unprofiled_ms: float | None = None,
) -> LayerProfile:
    """Time every layer of an artifact on real samples.

    Args:
        path: an `.onnx` file written by `tks-edge export`.
        backend: what runs it.
        device: where it computes, one of the backend's `devices`; None for its first.
        threads: threads inside one operator; None leaves the number to the library.
        steps: the T that a step artifact is run at; None for that of its export.
        unprofiled_ms: what a run takes without a profiler, where it is known; it is handed on.

    Raises:
        ArtifactError: the file is not an artifact, is damaged, or does not say which layers it has.
        InputError: there is no such backend or device, or it has no profiler.
        MissingError: the library, the driver or the device is missing.
    """
    device = find_device(backend, device)
    find_backend(backend).require(device)
    artifact = layered_artifact(path)
    timesteps = timesteps_of(artifact, steps)
    engine = open_engine(
        artifact.path, backend, device=device, threads=threads, shapes=check_graph(artifact.path), profiled=True
    )
    try:
        check_ports(artifact, engine)
        batches = artifact_batches(artifact)
        for run in range(_WARM_UP + RUNS):
            _infer(engine, artifact.manifest, batches[run % len(batches)], timesteps)
        times = engine.node_times()
        if not times:
            raise InputError(f"the backend {backend} has no profiler that times nodes. Leave --per-layer out.")
    finally:
        engine.close()
    calls = timesteps if artifact.manifest.form == STEP else 1
    together = [_together(times[i : i + calls]) for i in range(_WARM_UP * calls, len(times), calls)]
    layers = attributed(artifact.manifest.layers, together)
    totals = [sum(node.ns for node in run) / 1e6 for run in together]
    return LayerProfile(
        backend,
        device,
        timesteps,
        RUNS,
        layers,
        sum(layer.ms for layer in layers),
        statistics.median(totals),
        unprofiled_ms,
        f"{CLOCKS.get((backend, device), f'the profiler of {backend}')}; medians of {RUNS} runs",
    )


def layered_artifact(path: Path | str) -> Artifact:
    """Open an artifact that says which layers it has.

    Raises:
        ArtifactError: the file is not an artifact, is damaged, or was written before artifacts said so.
    """
    artifact = Artifact.open(path)
    if not artifact.manifest.layers:
        raise ArtifactError(f"{path} does not say which layers it has: an older version wrote it. Export it again.")
    return artifact


def attributed(specs: Sequence[LayerSpec], runs: Sequence[Sequence[NodeTime]]) -> tuple[LayerTime, ...]:
    """The time of each layer from the times of an engine's nodes, run by run; every node goes to one layer or `OTHER`.

    Args:
        specs: the layers, in the order of execution.
        runs: the nodes of each run, each name at most once.
    """
    attribution = Attribution(specs)
    covered = {node.name: attribution.covered(node) for run in runs for node in run}
    owners = {name: attribution.owner(layers) or OTHER for name, layers in covered.items()}
    by_node: dict[str, list[int]] = defaultdict(lambda: [0] * len(runs))
    by_layer: dict[str, list[int]] = defaultdict(lambda: [0] * len(runs))
    for index, run in enumerate(runs):
        for node in run:
            by_node[node.name][index] += node.ns
            by_layer[owners[node.name]][index] += node.ns
    ms = {path: statistics.median(times) / 1e6 for path, times in by_layer.items()}
    total = sum(ms.values()) or 1.0
    found: Mapping[str, LayerSpec | None] = {**{spec.path: spec for spec in specs}, OTHER: None}
    return tuple(
        LayerTime(
            path,
            ms.get(path, 0.0),
            ms.get(path, 0.0) / total,
            tuple(
                EngineNode(name, covered[name], statistics.median(times) / 1e6)
                for name, times in by_node.items()
                if owners[name] == path
            ),
            spec,
        )
        for path, spec in found.items()
    )


def _together(calls: Sequence[Sequence[NodeTime]]) -> list[NodeTime]:
    """The nodes of several calls of an engine, the times of one name added."""
    found: dict[str, NodeTime] = {}
    for node in (node for call in calls for node in call):
        before = found.get(node.name)
        found[node.name] = node if before is None else dataclasses.replace(node, ns=node.ns + before.ns)
    return list(found.values())


def _infer(engine: Engine, manifest: Manifest, batch: Array, timesteps: int) -> None:
    """Run one batch over all its timesteps; a step graph from rest, its states by way of the host."""
    if manifest.form != STEP:
        engine.run({manifest.input.name: batch})
        return
    states = {state.input: np.full(state.shape, state.zero, state.dtype) for state in manifest.states}
    for t in range(timesteps):
        frame = np.ascontiguousarray(batch[:, t]) if manifest.encoding == FRAMES else batch
        outputs = engine.run({manifest.input.name: frame, **states})
        states = {state.input: outputs[state.output] for state in manifest.states}
