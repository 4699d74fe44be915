"""Units of potential for each channel: the same spikes from thresholds of its own, and where there are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, nn

from tests.export.lowering import Prepared
from tests.export.plain_networks import between
from tks_edge_export import Compiler, Options
from tks_edge_export.capture import capture
from tks_edge_export.channel_lif import ChannelLIF
from tks_edge_export.decisions import FloatNeuron
from tks_edge_export.layers import weighted_layers
from tks_edge_export.passes import ONE_STEP, apply
from tks_edge_export.passes.channel_units import receivers, refusal
from tks_edge_export.reference import FLOAT32
from tks_edge_models import LIF, LIFParameters

INT8 = Options(3, precision="int8")
UNSCALED = LIFParameters(decay_input=False)


@pytest.mark.parametrize("v_reset", [0.0, None])
@given(seed=st.integers(0, 2**31), timesteps=st.integers(1, 6), tau=st.sampled_from([1.0, 2.0, 3.0]))
def test_a_scaled_channel_with_a_scaled_threshold_fires_the_same_spikes(
    v_reset: float | None, seed: int, timesteps: int, tau: float
) -> None:
    """By powers of two every operation scales without rounding, so the spikes are equal to the bit."""
    params = dataclasses.replace(UNSCALED, tau=tau, v_reset=v_reset)
    generator = torch.Generator().manual_seed(seed)
    currents = torch.randn((timesteps, 2, 5, 3), generator=generator)
    units = torch.exp2(torch.randint(-3, 4, (5, 1), generator=generator))
    own = ChannelLIF(params, (params.v_threshold * units).numpy())
    spikes = LIF(params)(currents)
    assert torch.equal(own(currents * units), spikes)
    assert 0 < spikes.mean() < 1


class Branching(nn.Module):
    """Two layers behind a neuron, joined as `join` says before the second neuron."""

    def __init__(self, join: Callable[[Branching, Tensor], Tensor], params: LIFParameters | None = None) -> None:
        super().__init__()
        self.stem, self.first = nn.Linear(6, 8), LIF()
        self.middle, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second, self.head = LIF(params), nn.Linear(8, 3)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, self.first(self.stem(x)))


def summed(net: Branching, spikes: Tensor) -> Tensor:
    logits: Tensor = net.head(net.second(net.middle(spikes) + net.other(spikes)))
    return logits


def read_twice(net: Branching, spikes: Tensor) -> Tensor:
    current = net.middle(spikes)
    logits: Tensor = net.head(net.second(current) + net.other(current))
    return logits


def used_twice(net: Branching, spikes: Tensor) -> Tensor:
    logits: Tensor = net.head(net.middle(net.second(net.middle(spikes))))
    return logits


def alone(net: Branching, spikes: Tensor) -> Tensor:
    logits: Tensor = net.head(net.second(net.middle(spikes)))
    return logits


def reasons(module: nn.Module, skip: frozenset[str] = frozenset()) -> dict[str, str | None]:
    captured = capture(module.eval(), torch.rand(2, 6))
    apply(captured, ONE_STEP, skip)
    layers = list(weighted_layers(captured.model.graph))
    found = {layer.path: refusal(layer, layers, captured.neurons) for layer in layers}
    assert set(receivers(layers, captured.neurons)) == {path for path, reason in found.items() if reason is None}
    return found


def test_a_layer_that_one_neuron_alone_reads_is_given_units() -> None:
    found = reasons(Branching(alone))
    assert (found["stem"], found["middle"]) == (None, None)
    assert found["head"] == "not one neuron alone reads the layer's output"


@pytest.mark.parametrize("join", [summed, read_twice])
def test_a_layer_that_others_read_too_is_refused(join: Callable[[Branching, Tensor], Tensor]) -> None:
    assert reasons(Branching(join))["middle"] == "not one neuron alone reads the layer's output"


def test_a_module_at_two_places_is_refused() -> None:
    assert reasons(Branching(used_twice))["middle"] == "the layer runs at several places"


def test_a_neuron_that_rests_elsewhere_is_refused() -> None:
    module = Branching(alone, LIFParameters(v_reset=-0.25))
    assert reasons(module)["middle"] is None  # once its rest is at 0
    found = reasons(module, frozenset({"normalize_neurons"}))
    assert found["middle"] == "the neuron rests at another potential than 0"


def test_a_transposed_convolution_is_refused(tmp_path: Path) -> None:
    lowered = between(nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 4)).lower(INT8, tmp_path)
    assert "channel_units" not in lowered.compiled.passes


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("form", ["static", "step"])
@pytest.mark.parametrize("v_reset", [0.0, None, -0.25])
def test_the_graph_is_exact_with_units_and_without(form: str, v_reset: float | None, tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = Branching(alone, LIFParameters(v_reset=v_reset)).eval()
    nn.init.normal_(module.middle.weight, 0.2)
    inputs = np.random.default_rng(0).normal(0.5, 1.0, (8, 6)).astype(np.float32)
    network = Prepared(module, Compiler(module, torch.from_numpy(inputs[:2])), inputs)
    for skip in (frozenset[str](), frozenset({"channel_units"})):
        lowered = network.lower(dataclasses.replace(INT8, form=form, skip=skip), tmp_path)
        comparison = lowered.compared(inputs)
        assert comparison.problem() is None
        assert {layer.path for layer in comparison.layers if layer.exact} == {"second"}
        assert comparison.layers[-1].total.fired > 0
        has_units = "second.thresholds" in tensors(lowered.path)
        assert has_units == ("channel_units" in lowered.compiled.passes) == (not skip)


def test_margins_and_tolerances_are_in_the_units_of_the_network() -> None:
    h, units = (
        torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[0.25], [1], [2], [4], [8]]),
    )
    plain = FloatNeuron(UNSCALED, FLOAT32)
    scaled = FloatNeuron(UNSCALED, FLOAT32, UNSCALED.v_threshold * units)
    assert torch.equal(scaled.distance(h * units), plain.distance(h))
    assert scaled.tolerance(h * units) == plain.tolerance(h)
    assert torch.equal(scaled.fires(h * units), plain.fires(h))
