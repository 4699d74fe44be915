"""Bottlenecks, shortcuts of currents, attention: each graph fires PyTorch's spikes at every T, step by step too."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.conftest import Prepare, calibrated
from tests.export.lowering import Prepared, each_network
from tks_edge_export import Compiler, Options
from tks_edge_export.lint import lint
from tks_edge_export.reference import FLOAT32

NETWORKS = ("sew_resnet50", "ms_resnet18", "spikformer", "qkformer")
FORMS = [("static", 1), ("static", 2), ("step", 4)]


@each_network(*NETWORKS)
@pytest.mark.parametrize(("form", "timesteps"), FORMS)
def test_every_spike_is_that_of_the_network(
    name: str, prepare: Prepare, form: str, timesteps: int, tmp_path: Path
) -> None:
    prepared = prepare(name)
    lowered = prepared.lower(Options(timesteps, form=form), tmp_path)
    assert lint(lowered.compiled.model, "generic") == ()
    comparison = lowered.compared(prepared.inputs)
    rates = " ".join(f"{layer.path}={layer.total.fire_rate:.3f}" for layer in comparison.layers)
    sys.stdout.write(f"\n{name} fp32 {form} T={timesteps}: fire rates {rates}\n")
    assert comparison.problem() is None
    # A handful of the first layer's, whose sums come from the pixels in another order.
    assert comparison.total.differing <= 1e-5 * comparison.total.decisions
    for layer in comparison.layers:
        assert len(layer.steps) == timesteps
        assert all(0 < step.fired < step.decisions for step in layer.steps), layer.path


@each_network(*NETWORKS[1:])
@pytest.mark.parametrize(("form", "timesteps"), FORMS[-2:])
def test_openvino_fires_the_same_spikes(name: str, prepare: Prepare, form: str, timesteps: int, tmp_path: Path) -> None:
    prepared = prepare(name)
    lowered = prepared.lower(Options(timesteps, form=form), tmp_path)
    layers = lowered.replayed("openvino", prepared.inputs[:2], tmp_path)
    assert all(len(layer.steps) == timesteps for layer in layers)


@each_network(*NETWORKS[1:])
def test_membranes_may_be_codes(name: str, prepare: Prepare, tmp_path: Path) -> None:
    prepared = prepare(name)
    lowered = prepared.lower(Options(2, precision="int8", target="onnxruntime-cpu"), tmp_path)
    comparison = lowered.compared(prepared.inputs)
    assert comparison.problem() is None
    assert all(layer.total.fired > 0 for layer in comparison.layers)


@pytest.mark.parametrize("name", ["ms_resnet18", "qkformer"])
def test_the_twin_gives_the_logits_of_pytorch(name: str, tmp_path: Path) -> None:
    network = calibrated(name, neuron="relu")
    inputs = np.random.default_rng(5).integers(0, 256, (2, 2, 16, 16), dtype=np.uint8)
    prepared = Prepared(network, Compiler(network, torch.from_numpy(inputs)), inputs)
    lowered = prepared.lower(Options(1), tmp_path)
    assert lowered.compared(inputs).problem() is None
    with torch.inference_mode():
        expected = network(torch.from_numpy(inputs))[0].numpy()
    logits = lowered.run("openvino", inputs)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=FLOAT32.logits * np.abs(expected).max())


@each_network(*NETWORKS)
def test_nothing_but_the_neurons_is_repeated_at_every_step(name: str, prepare: Prepare) -> None:
    heavy = ("Conv", "Gemm", "MatMul", "ReduceSum", "MaxPool", "AveragePool", "Transpose")
    counts = []
    for timesteps in (1, 4):
        operators = Counter(node.op_type for node in prepare(name).compiler.compile(Options(timesteps)).model.graph)
        counts.append({operator: operators[operator] for operator in heavy})
    assert counts[0] == counts[1]
    assert (counts[0]["MatMul"] > 0) == (name in ("spikformer", "qkformer"))
