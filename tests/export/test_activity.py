"""What the manifest says of layers, against counts by hand, the cost of the graph, and PyTorch's own layers."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.export.conftest import MakeSource, Prepare, write
from tests.export.lowering import Prepared, each_network
from tks_edge_export import Options, export
from tks_edge_export.activity import layer_specs
from tks_edge_export.cost import cost
from tks_edge_export.decisions import LayerComparison, StepComparison
from tks_edge_export.replay import Replayed
from tks_edge_models import LIF, LIFParameters
from tks_edge_runtime.artifact import ANALOGUE, NEURON, SPIKES, WEIGHTS, LayerSpec

FIRES = LIFParameters(tau=1.0, v_threshold=0.5)
"""Without a memory: it fires in every step in which its input is 0.5 or more."""
INPUTS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
"""Two thirds of the second and all of the first neurons fire: 5 of 6."""


class ByHand(nn.Module):
    """Two layers that hand on what they read, a sum of spikes, and a product of two computed tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = (nn.Linear(2, 2, bias=False) for _ in range(3))
        for layer in (self.first, self.second, self.last):
            nn.init.eye_(layer.weight)
        self.a, self.b = LIF(FIRES), LIF(FIRES)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(self.first(x))
        b = self.b(self.second(a))
        outer = (a + b).unsqueeze(-1) @ b.unsqueeze(-2)  # [N, 2, 2]
        logits: Tensor = self.last(a + b) + outer.sum(-1)
        return logits


def by_path(layers: tuple[LayerSpec, ...]) -> dict[str, LayerSpec]:
    return {layer.path: layer for layer in layers}


def rounded(layer: LayerSpec) -> LayerSpec:
    """With rates of nine digits."""
    input_rate, fire_rate = (None if rate is None else round(rate, 9) for rate in (layer.input_rate, layer.fire_rate))
    return dataclasses.replace(layer, input_rate=input_rate, fire_rate=fire_rate)


def exported(folder: Path, timesteps: int, *, batch: int = 1, **options: Any) -> dict[str, LayerSpec]:
    example = INPUTS[:batch]
    done = export(ByHand().eval(), example, timesteps, output=folder, samples=INPUTS, **options)
    return by_path(done.artifact.manifest.layers)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("timesteps", [1, 3])
def test_rates_and_multiply_accumulates_are_those_counted_by_hand(tmp_path: Path, timesteps: int, batch: int) -> None:
    found = {path: rounded(layer) for path, layer in exported(tmp_path, timesteps, batch=batch, per_step=True).items()}
    rate = round(5 / 6, 9)
    # The same at every step: once.
    assert found["first"] == LayerSpec("first", WEIGHTS, 4, ANALOGUE, rate)
    assert found["a"] == LayerSpec("a", NEURON, fire_rate=rate)
    assert found["second"] == LayerSpec("second", WEIGHTS, 4 * timesteps, SPIKES, rate)
    assert found["b"] == LayerSpec("b", NEURON, fire_rate=rate)
    # Both neurons fire together, so what is read is 0 or 2.
    assert found["last"] == LayerSpec("last", WEIGHTS, 4 * timesteps, SPIKES, round(10 / 6, 9))
    # Of the product of a sum with spikes, the spikes are the fewer.
    (product,) = (layer for path, layer in found.items() if path.startswith("matmul"))
    assert (product.macs, product.input, product.input_rate) == (4 * timesteps, SPIKES, rate)
    assert list(found)[:4] == ["first", "a", "second", "b"]


def test_a_step_graph_runs_its_first_layer_at_every_step(tmp_path: Path) -> None:
    found = exported(tmp_path, 3, form="step")
    assert [found[path].macs for path in ("first", "second", "last")] == [12, 12, 12]
    assert found["first"].input == ANALOGUE
    assert found["a"].outputs == ("state.a.out",)
    assert found["a"].fire_rate == pytest.approx(5 / 6, rel=1e-6)


def test_frames_are_each_read_once(tmp_path: Path) -> None:
    frames = torch.stack([INPUTS, torch.zeros(3, 2)], dim=1)  # a silent second frame
    done = export(ByHand().eval(), frames[:1], 2, output=tmp_path, samples=frames, frames=True, per_step=True)
    found = by_path(done.artifact.manifest.layers)
    assert (found["first"].macs, found["second"].macs) == (8, 8)
    for layer in (found["first"], found["second"]):
        assert layer.input_rate == pytest.approx(5 / 12, rel=1e-6)
    assert found["a"].fire_rate == pytest.approx(5 / 12, rel=1e-6)


def test_a_mean_of_spikes_is_no_spike(tmp_path: Path) -> None:
    """The readout before the classifier: it then runs once, and multiplies."""

    class Last(ByHand):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.last(self.a(self.first(x)))
            return logits

    half = INPUTS * 0.6  # with a memory, it is the second step that fires
    network = Last()
    network.a = LIF(LIFParameters(tau=2.0, v_threshold=0.4))
    done = export(network.eval(), half[:1], 2, output=tmp_path, samples=half)
    last = by_path(done.artifact.manifest.layers)["last"]
    assert (last.macs, last.input, last.outputs) == (4, ANALOGUE, ("logits",))


def test_the_twin_multiplies_everywhere(make_source: MakeSource, tmp_path: Path) -> None:
    layers = write(make_source(neuron="relu"), 1, tmp_path, precision="fp32").artifact.manifest.layers
    assert [layer.kind for layer in layers] == [WEIGHTS] * 6
    assert all(layer.input == ANALOGUE and layer.fire_rate is None for layer in layers)
    assert all(0 < (layer.input_rate or 0) <= 1 for layer in layers)
    assert layers[1].input_rate != 1  # behind a ReLU


def test_the_same_export_says_the_same(make_source: MakeSource, tmp_path: Path) -> None:
    one, other = (write(make_source(), 2, tmp_path / name, precision="int8", batch_size=5) for name in "ab")
    assert one.artifact.manifest.layers == other.artifact.manifest.layers


def fired_freely(prepared: Prepared, reference: Any, timesteps: int) -> tuple[dict[str, float], dict[str, float]]:
    """By PyTorch: the fire rate of every LIF layer, and the mean input of every module with weights."""
    replayed = Replayed(reference, timesteps)
    sums: dict[str, list[float]] = defaultdict(list)
    for path, module in replayed.network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(
                lambda _module, inputs, _output, path=path: sums[path].append(float(inputs[0].abs().double().mean()))
            )
    replayed.run_freely(prepared.inputs)
    rates = {path: float(spikes.mean(dtype="float64")) for path, spikes in replayed.fired.items()}
    return rates, {path: sum(values) / len(values) for path, values in sums.items()}


@each_network()
def test_layers_are_those_of_the_network(name: str, prepare: Prepare) -> None:
    prepared, timesteps = prepare(name), 2
    compiled = prepared.compiler.compile(Options(timesteps))
    rates, means = fired_freely(prepared, compiled.reference, timesteps)
    neurons = [
        LayerComparison(path, False, (StepComparison(decisions=10**9, fired=round(rate * 10**9)),))
        for path, rate in rates.items()
    ]
    layers = layer_specs(compiled.model, compiled.layers, neurons, prepared.inputs, timesteps)
    # What the graph multiplies is all there, of one of its two samples.
    assert 2 * sum(layer.macs for layer in layers) == cost(compiled.model).macs
    modules = dict(prepared.network.named_modules())
    assert {layer.path for layer in layers} <= modules.keys()
    assert {layer.path for layer in layers if layer.kind == NEURON} == rates.keys()
    weighted = {layer.path: layer for layer in layers if layer.kind == WEIGHTS}
    assert means.keys() <= weighted.keys()
    assert {type(modules[path]).__name__ for path in weighted.keys() - means.keys()} <= {"SelfAttention"}
    assert layers[0].input == ANALOGUE
    for path, mean in means.items():
        if weighted[path].input == SPIKES:
            assert weighted[path].input_rate == pytest.approx(mean, rel=1e-4), path
    if name == "tiny":
        order = "stem.0 body.0 body.1.0 body.2 body.3.0 body.4 body.5.0 body.6 body.7.0 body.8 body.9.2"
        assert " ".join(layer.path for layer in layers) == order


@each_network("tiny", "spikformer")
def test_every_node_that_multiplies_is_named_after_its_layer(name: str, prepare: Prepare) -> None:
    for options in (Options(2), Options(2, form="step"), Options(2, precision="int8"), Options(1, precision="fp16")):
        compiled = prepare(name).compiler.compile(options, [prepare(name).inputs])
        names = [str(node.name) for node in compiled.model.graph if node.op_type in ("Conv", "Gemm", "MatMul")]
        assert len(names) >= len(compiled.layers)
        for path in compiled.layers:
            assert any(node.startswith(f"{path}.") for node in names), path
