"""Neurons that are no LIF: traced, laid out in every form and precision, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tks_edge_export import ExportError, export
from tks_edge_models import LIF, LIFParameters, Neuron
from tks_edge_models.neuron import State
from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.session import load


class Current(Neuron):
    """Two states: a membrane, and a current that drives it."""

    def rest(self, x: Tensor) -> State:
        return torch.zeros_like(x), torch.zeros_like(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        v, current = state
        current = 0.8 * current + x
        h = v + 0.3 * (current - v)
        spikes = self.fire(h - 0.5)
        return spikes, (h * (1.0 - spikes), current)


class Tiring(Neuron):
    """A state that the current does not reach: how often there was a step."""

    def rest(self, x: Tensor) -> State:
        return torch.zeros_like(x), torch.ones_like(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        v, steps = state
        spikes = self.fire(v + x - 0.5 * steps)
        return spikes, (v + x - spikes, steps + 1.0)


class NoState(Neuron):
    def rest(self, x: Tensor) -> State:
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.fire(x - 0.25), ()


class Forgets(Current):
    """Gives one state less than it rests with."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return super().step(x, state)[0], (state[0],)


class DecidesItself(Current):
    """Its spikes do not go through `fire`."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return (state[0] + x > 0.5).float(), (state[0] + x, state[1])


class Branches(Current):
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return super().step(x if bool(x.sum() > 0) else -x, state)


class Net(nn.Module):
    """A traced neuron and a LIF, with two convolutions between input and logits."""

    def __init__(self, neuron: Neuron, channels: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.neuron = neuron
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.lif = LIF(LIFParameters(tau=float("inf"), decay_input=False, v_reset=None, v_jump=0.4))
        self.last = nn.Linear(channels * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.first(x)[None])[0]
        logits: Tensor = self.last(self.lif(self.second(spikes)[None])[0].flatten(1))
        return logits


def network(neuron: Neuron) -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    return Net(neuron).eval(), 3 * torch.rand(4, 1, 6, 6)


@pytest.mark.parametrize(
    ("form", "precision", "target"),
    [
        ("static", "fp32", "generic"),
        ("step", "fp32", "generic"),
        ("static", "fp16", "generic"),
        ("static", "int8", "generic"),
        ("static", "int8", "onnxruntime-cpu"),
        ("step", "int8", "openvino"),
    ],
)
def test_every_form_and_precision_is_the_network(form: str, precision: str, target: str, tmp_path: Path) -> None:
    module, x = network(Current())
    made = export(module, x, 3, output=tmp_path, form=form, precision=precision, target=target)
    rates = {layer.path: layer.total.fire_rate for layer in made.comparison.layers}
    assert set(rates) == {"neuron", "lif"}
    assert all(0.01 < rate < 0.9 for rate in rates.values()), rates
    if precision == "fp32":
        assert made.comparison.total.differing == 0
    manifest = Artifact.open(made.artifact.path).manifest
    assert [state.name for state in manifest.states] == (["neuron.0", "neuron.1", "lif"] if form == "step" else [])
    if form == "step":
        outputs = {layer.path: layer.outputs for layer in manifest.layers}
        assert outputs["neuron"] == ("state.neuron.0.out", "state.neuron.1.out")
        assert outputs["lif"] == ("state.lif.out",)
    assert manifest.input.meaning == "as the network takes it"
    with load(made.artifact.path) as session:
        assert session.run(x.numpy()).shape == (4, 5)


@pytest.mark.parametrize("neuron", [Tiring(), NoState()])
def test_states_of_any_kind(neuron: Neuron, tmp_path: Path) -> None:
    module, x = network(neuron)
    for timesteps in (1, 3):
        made = export(module, x, timesteps, output=tmp_path)
        assert made.comparison.total.differing == 0
        assert 0.01 < made.comparison.layers[0].total.fire_rate < 0.9


@pytest.mark.parametrize(
    ("neuron", "form", "words"),
    [
        (Tiring(), "step", r"the module 'neuron' \(Tiring\) rests at another state than 0"),
        (Forgets(), "static", r"the module 'neuron' \(Forgets\) rests with 2 states and steps to 1"),
        (Branches(), "static", r"the step of the module 'neuron' \(Branches\) cannot be captured as a static graph"),
        (Neuron(), "static", r"the step of the module 'neuron' \(Neuron\) fails for a current .* Neuron has no rest"),
        (DecidesItself(), "static", r"the module 'neuron' \(DecidesItself\) calls fire\(\) 0 times a step"),
    ],
)
def test_what_cannot_be_traced_is_refused(neuron: Neuron, form: str, words: str, tmp_path: Path) -> None:
    module, x = network(neuron)
    with pytest.raises(ExportError, match=words):
        export(module, x, 2, output=tmp_path, form=form)
    assert not list(tmp_path.iterdir())


def test_a_membrane_in_half_precision_is_refused(tmp_path: Path) -> None:
    module, x = network(Current())
    with pytest.raises(ExportError, match="the neurons of 'neuron' are traced in float32"):
        export(module, x, 2, output=tmp_path, precision="fp16", membrane="fp16")
