"""Bottlenecks, shortcuts of currents, attention: each graph fires PyTorch's spikes at every T, step by step too."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.export.conftest import Prepare
from tests.export.lowering import each_network
from tks_edge_export import Options
from tks_edge_export.lint import lint

NETWORKS = ("sew_resnet50", "ms_resnet18", "spikformer", "qkformer")
FORMS = [("static", 1), ("static", 2), ("static", 4), ("step", 4)]


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


@each_network(*NETWORKS)
def test_nothing_but_the_neurons_is_repeated_at_every_step(name: str, prepare: Prepare) -> None:
    heavy = ("Conv", "Gemm", "MatMul", "ReduceSum", "MaxPool", "AveragePool", "Transpose")
    counts = []
    for timesteps in (1, 4):
        operators = Counter(node.op_type for node in prepare(name).compiler.compile(Options(timesteps)).model.graph)
        counts.append({operator: operators[operator] for operator in heavy})
    assert counts[0] == counts[1]
    assert (counts[0]["MatMul"] > 0) == (name in ("spikformer", "qkformer"))
