"""Exported networks in each engine's own profiler: every layer is found again, and nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.export.conftest import MakeSource, write
from tks_edge_runtime.artifact import WEIGHTS, Artifact
from tks_edge_runtime.backends import open_engine
from tks_edge_runtime.layer_profile import OTHER, RUNS, LayerProfile, profile_layers
from tks_edge_runtime.measure import artifact_batches

VARIANTS: dict[str, dict[str, Any]] = {
    "static fp32": {},
    "static int8": {"precision": "int8"},
    "static int8 onnxruntime": {"precision": "int8", "target": "onnxruntime-cpu"},
    "one step onnxruntime": {"timesteps": 1, "target": "onnxruntime-cpu"},
    "static int8 openvino": {"precision": "int8", "target": "openvino"},
    "step fp32": {"form": "step"},
    "step int8": {"form": "step", "precision": "int8"},
}


@pytest.fixture(scope="module", params=VARIANTS)
def artifact(request: pytest.FixtureRequest, make_source: MakeSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of `tiny` at T=2, a batch of two; at T=1 ONNX Runtime fuses neurons into convolutions."""
    folder = tmp_path_factory.mktemp("profiled")
    source = make_source()
    source = dataclasses.replace(source, calibration=source.samples.inputs)
    options = {"timesteps": 2, **VARIANTS[request.param]}
    return write(source, options.pop("timesteps"), folder, batch_size=2, **options).artifact.path


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_layer_is_found_in_the_profile(
    artifact: Path, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = profile_layers(artifact, backend, threads=1, unprofiled_ms=1.5)
    layers = Artifact.open(artifact).manifest.layers
    assert [time.path for time in found.layers] == [*(layer.path for layer in layers), OTHER]
    assert (found.timesteps, found.runs, found.unprofiled_ms) == (Artifact.open(artifact).manifest.timesteps, RUNS, 1.5)
    covered = {path for time in found.layers for node in time.nodes for path in node.layers}
    assert covered == {layer.path for layer in layers}  # neurons too
    for time in found.layers[:-1]:
        assert time.layer in layers
        assert all(time.path in node.layers for node in time.nodes)
        assert time.nodes or time.layer is None or time.layer.kind != WEIGHTS, time.path
    # What is left are other modules, and changes of layout between two nodes.
    begins = tuple(f"{layer.path}." for layer in layers)
    assert not any(node.layers or node.name.startswith(begins) for node in found.layers[-1].nodes)
    check_sums(found)
    json.dumps(found.to_dict(), allow_nan=False)
    # The trace of ONNX Runtime lay in a temporary folder.
    assert list(tmp_path.iterdir()) == []


def check_sums(found: LayerProfile) -> None:
    assert sum(time.ms for time in found.layers) == pytest.approx(found.sum_ms)
    assert sum(time.share for time in found.layers) == pytest.approx(1.0)
    nodes = [node.name for time in found.layers for node in time.nodes]
    assert len(nodes) == len(set(nodes)) > 0


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_run_is_profiled_only_where_it_was_asked_for(artifact: Path, backend: str) -> None:
    manifest = Artifact.open(artifact).manifest
    states = {state.input: 0 for state in manifest.states}
    (batch, *_) = artifact_batches(Artifact.open(artifact))
    for profiled in (False, True):
        engine = open_engine(artifact, backend, threads=1, spinning=False, profiled=profiled)
        ports = {port.name: port for port in engine.inputs}
        feeds = {name: np.full(ports[name].shape, zero, ports[name].dtype) for name, zero in states.items()}
        for _ in range(3):
            engine.run({manifest.input.name: batch, **feeds})
        runs = engine.node_times()
        engine.close()
        assert len(runs) == (3 if profiled else 0)
        assert all(node.ns >= 0 for run in runs for node in run)
        assert len({tuple(node.name for node in run) for run in runs}) == (1 if profiled else 0)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_twin_has_layers_too(make_source: MakeSource, tmp_path: Path, backend: str) -> None:
    path = write(make_source(neuron="relu"), 1, tmp_path).artifact.path
    found = profile_layers(path, backend, threads=1)
    assert all(time.nodes for time in found.layers[:-1])
    check_sums(found)


def test_fewer_steps_take_part_of_a_step_graph(make_source: MakeSource, tmp_path: Path) -> None:
    path = write(make_source(), 4, tmp_path, form="step").artifact.path
    assert profile_layers(path, threads=1, steps=3).timesteps == 3
