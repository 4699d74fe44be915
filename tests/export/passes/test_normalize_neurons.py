"""A neuron with its input's scale and its rest folded into the threshold fires the same spikes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.export.neurons import neurons
from tests.export.passes.graphs import run
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_steps import emit_lif
from tks_edge_export.over_time import OverTime
from tks_edge_export.passes.normalize_neurons import normalized
from tks_edge_models import LIFParameters
from tks_edge_models.lif import charge, step

powers_of_two = neurons(
    tau=st.sampled_from((1.0, 2.0, 4.0, 8.0, 16.0)),
    v_threshold=st.floats(0.125, 2.0, width=32),
    v_reset=st.sampled_from((None, 0.0)),
)


def graph_of(params: LIFParameters, timesteps: int) -> ir.Model:
    builder = GraphBuilder(18)
    current = ir.Value(name="x", shape=ir.Shape((timesteps * 2, 21)), type=ir.TensorType(ir.DataType.FLOAT))
    spikes, _ = emit_lif(builder, "layer", OverTime.of_merged(builder, timesteps, current), params)
    return ir.Model(builder.graph([current], [spikes.merged()], "g"), ir_version=10)


@settings(deadline=None, max_examples=25)
@given(params=powers_of_two, timesteps=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_where_tau_is_a_power_of_two_the_graph_fires_the_same_to_the_bit(
    params: LIFParameters, timesteps: int, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(0.6, 1.5, (timesteps * 2, 21)).astype(np.float32)
    x[:, 0] = params.v_threshold / params.gain  # at the threshold itself
    spikes = run(graph_of(params, timesteps), x=x)
    np.testing.assert_array_equal(run(graph_of(normalized(params), timesteps), x=x), spikes)
    assert spikes[:2].mean() > 0


def fired(params: LIFParameters, currents: Tensor) -> tuple[Tensor, float]:
    """The spikes, and how near the threshold a membrane came, in units of the input's scale."""
    state, spikes, margin = None, [], float("inf")
    for x in currents:
        h = charge(x, state, params)
        margin = min(margin, float((h - params.v_threshold).abs().min()) / params.gain)
        fired_now, state = step(x, state, params)
        spikes.append(fired_now)
    return torch.stack(spikes), margin


@settings(deadline=None, max_examples=150)
@given(params=neurons(), timesteps=st.integers(1, 8), seed=st.integers(0, 2**31))
def test_any_neuron_fires_the_same_in_real_numbers(params: LIFParameters, timesteps: int, seed: int) -> None:
    currents = torch.from_numpy(np.random.default_rng(seed).normal(0.6, 1.5, (timesteps, 40)))
    expected, margin = fired(params, currents)
    assume(margin > 1e-11)  # float64, so that only a current made to meet the threshold could be decided either way
    got, _ = fired(normalized(params), currents)
    assert torch.equal(got, expected)


@given(params=neurons())
def test_a_normal_neuron_rests_at_zero_with_its_input_unscaled(params: LIFParameters) -> None:
    normal = normalized(params)
    assert (normal.v_rest, normal.gain, normal.decay) == (0.0, 1.0, params.decay)
    assert (normal.v_reset is None) == (params.v_reset is None)
    assert normalized(normal) == normal


@pytest.mark.parametrize(
    "params", [LIFParameters(), LIFParameters(v_reset=-0.25, tau=3.0), LIFParameters(v_reset=None)]
)
def test_the_scale_and_the_drift_to_rest_vanish(params: LIFParameters) -> None:
    vanish = {"layer.scaled", "layer.t0.h"} if params.v_rest else {"layer.scaled"}
    if params.v_rest:
        vanish.add("layer.t1.drawn")
    before, after = ([str(node.name) for node in graph_of(neuron, 2).graph] for neuron in (params, normalized(params)))
    assert vanish <= {*before}
    assert not {"layer.scaled", "layer.t1.drawn"} & {*after}
