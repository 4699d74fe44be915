"""Membranes as 8-bit codes: the ONNX nodes are the PyTorch layer, and that is nearly the neuron itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.export.neurons import neurons
from tests.export.passes.graphs import outputs
from tks_edge_export.codes import LARGEST, Code, CodedLIF
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_codes import emit_coded_lif
from tks_edge_export.over_time import OverTime
from tks_edge_models import LIFParameters
from tks_edge_models.lif import charge, reset

Array = npt.NDArray[Any]
zeros = st.integers(8, 63).map(lambda half: 2 * half)
thresholds = st.one_of(st.sampled_from((0.5, 1.0)), st.floats(0.0625, 8.0))


def normal_neurons(taus: st.SearchStrategy[float]) -> st.SearchStrategy[LIFParameters]:
    """At rest at 0, with their input unscaled."""
    return neurons(tau=taus, v_threshold=thresholds, v_reset=st.sampled_from((None, 0.0)), decay_input=st.just(False))


taus = st.one_of(st.sampled_from((1.0, 2.0, 3.0, 4.0)), st.floats(1.0, 16.0))


def graph_of(layer: CodedLIF, timesteps: int, count: int, *, with_state: bool) -> ir.Model:
    builder = GraphBuilder(18)
    current = ir.Value(name="x", shape=ir.Shape((timesteps * 2, count)), type=ir.TensorType(ir.DataType.FLOAT))
    state = ir.Value(name="v", shape=ir.Shape((2, count)), type=ir.TensorType(ir.DataType.UINT8))
    form = OverTime.of_merged(builder, timesteps, current)
    spikes, after = emit_coded_lif(builder, "layer", form, layer.params, layer.code, state if with_state else None)
    inputs = [current, state] if with_state else [current]
    return ir.Model(builder.graph(inputs, [spikes.merged(), after], "g"), ir_version=10)


def run(graph: ir.Model, feeds: dict[str, Array], *, optimize: bool) -> list[Array]:
    return [*outputs(graph, optimize=optimize, **feeds).values()]


def stepped(layer: CodedLIF, currents: Tensor, codes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Spikes `[T, ...]`, and the code of the membrane after them, from the code before."""
    state = None if codes is None else codes - layer.code.zero
    spikes = []
    for x in currents:
        h = layer.charge(x, state)
        spikes.append(layer.fires(h).to(x.dtype))
        state = layer.reset(h, spikes[-1])
    assert state is not None
    return torch.stack(spikes), state + layer.code.zero


@settings(deadline=None, max_examples=60)
@given(
    params=normal_neurons(st.sampled_from((1.0, 2.0))),
    zero=zeros,
    timesteps=st.integers(1, 5),
    with_state=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_where_membranes_halve_the_fused_nodes_give_the_codes_of_the_layer(
    params: LIFParameters, zero: int, timesteps: int, with_state: bool, seed: int
) -> None:
    """A sum of halves lies between two codes half of the time, and is rounded to the even one, as in PyTorch."""
    layer, generator = CodedLIF(params, zero), np.random.default_rng(seed)
    x = (params.v_threshold * generator.normal(0.6, 1.5, (timesteps, 2, 35))).astype(np.float32)
    before = generator.integers(0, 256, (2, 35), dtype=np.uint8)
    feeds = {"x": x.reshape(-1, 35)} | ({"v": before} if with_state else {})
    spikes, after = run(graph_of(layer, timesteps, 35, with_state=with_state), feeds, optimize=True)
    state = torch.from_numpy(before).float() if with_state else None
    expected, expected_after = stepped(layer, torch.from_numpy(x), state)
    np.testing.assert_array_equal(spikes.reshape(expected.shape), expected.numpy())
    np.testing.assert_array_equal(after, expected_after.numpy().astype(np.uint8))


@pytest.mark.parametrize("optimize", [True, False], ids=["fused", "as written"])
@settings(deadline=None, max_examples=60)
@given(params=normal_neurons(taus), zero=zeros, seed=st.integers(0, 2**31))
def test_one_step_of_any_neuron_gives_the_nearest_code(
    optimize: bool, params: LIFParameters, zero: int, seed: int
) -> None:
    """Where `d v + x` lies between two codes to within float32, either may come out, and nowhere else."""
    layer, generator = CodedLIF(params, zero), np.random.default_rng(seed)
    x = (params.v_threshold * generator.normal(0.6, 1.5, (2, 70))).astype(np.float32)
    before = generator.integers(0, 256, (2, 70), dtype=np.uint8)
    graph = graph_of(layer, 1, 70, with_state=True)
    spikes, after = run(graph, {"x": x, "v": before}, optimize=optimize)
    exact = (
        (before.astype(np.float64) - zero) * params.decay + np.asarray(layer.code.encode(torch.from_numpy(x))) - zero
    )
    possible = []
    for nudge in (-1e-3, 1e-3):  # float32, of sums of two numbers below 256
        h = np.clip(np.rint(exact + nudge), -zero, LARGEST - zero)
        fires = h >= layer.jump
        v = h - layer.jump * fires if params.v_reset is None else h * ~fires
        possible.append((fires == (spikes == 1)) & (v + zero == after))
    assert np.logical_or(*possible).all()
    assert set(np.unique(spikes)) <= {0.0, 1.0}


@settings(deadline=None, max_examples=30)
@given(params=normal_neurons(taus), zero=zeros, timesteps=st.integers(2, 5), seed=st.integers(0, 2**31))
def test_steps_with_a_state_give_what_all_timesteps_at_once_give(
    params: LIFParameters, zero: int, timesteps: int, seed: int
) -> None:
    layer, generator = CodedLIF(params, zero), np.random.default_rng(seed)
    x = (params.v_threshold * generator.normal(0.6, 1.5, (timesteps, 2, 35))).astype(np.float32)
    spikes, after = run(graph_of(layer, timesteps, 35, with_state=False), {"x": x.reshape(-1, 35)}, optimize=True)
    one, state = graph_of(layer, 1, 35, with_state=True), np.full((2, 35), zero, np.uint8)
    driven = []
    for current in x:
        fired, state = run(one, {"x": current, "v": state}, optimize=True)
        driven.append(fired)
    np.testing.assert_array_equal(np.concatenate(driven), spikes)
    np.testing.assert_array_equal(state, after)


@settings(deadline=None, max_examples=120)
@given(params=normal_neurons(taus), zero=zeros, timesteps=st.integers(1, 8), seed=st.integers(0, 2**31))
def test_a_coded_membrane_is_as_near_the_exact_one_as_its_roundings_allow(
    params: LIFParameters, zero: int, timesteps: int, seed: int
) -> None:
    """Given the same past and no cut: half a code for each current, each sum, and each soft reset."""
    layer = CodedLIF(params, zero)
    low, high = -0.9 * zero * (1.0 - params.decay), LARGEST - zero - params.decay * 128 - 1
    generator = np.random.default_rng(seed)
    currents = torch.from_numpy(generator.uniform(low, high, (timesteps, 200)) * layer.code.scale).float()
    coded = exact = None
    error = 0.0
    for x in currents:
        h, wanted = layer.charge(x, coded), charge(x.double(), exact, params)
        error = 0.5 if coded is None else params.decay * error + 1.0
        allowed = error * layer.code.scale * (1 + 1e-5)
        assert float((h * layer.code.scale - wanted).abs().max()) <= allowed
        certain = (wanted - params.v_threshold).abs() > allowed
        fires = layer.fires(h)
        assert torch.equal(fires[certain], (wanted >= params.v_threshold)[certain])
        coded, exact = layer.reset(h, fires.float()), reset(wanted, fires.double(), params)
        error += 0.5 * (params.v_reset is None)


@given(threshold=thresholds, zero=zeros)
def test_the_highest_bit_of_a_membrane_is_the_spike(threshold: float, zero: int) -> None:
    code = Code.of_membrane(threshold, zero)
    around = torch.tensor([threshold * (1 - 1e-5), threshold * (1 + 1e-5), 0.0, -1e9, 1e9])
    assert code.encode(around).tolist() == [127, 128, zero, 0, 255]
    assert (code.zero, code.dtype) == (zero, "uint8")


@given(ends=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted), signed=st.booleans())
def test_a_range_is_held_to_half_a_step_and_zero_exactly(ends: list[float], signed: bool) -> None:
    code = Code.of_range(*ends, signed=signed)
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    inside = torch.linspace(low, high, 257)
    codes = code.encode(inside)
    kind = np.iinfo(code.dtype)
    assert codes.min() >= kind.min
    assert codes.max() <= kind.max
    half = code.scale * (0.5 + 1e-4)  # a quotient of up to 255, and the product, are rounded to float32
    least, most = (float(code.decode(torch.tensor(float(end)))) for end in (-127 if signed else 0, kind.max))
    assert least - half <= low
    assert high <= most + half
    errors = (code.decode(codes) - inside).abs()
    held = (inside >= least - code.scale * 1e-4) & (inside <= most + code.scale * 1e-4)
    assert float(errors[held].max()) <= half
    # The zero of a code without sign is a whole number, so one end may lie half a step outside.
    assert float(errors.max()) <= half + (0.0 if signed else 0.5 * code.scale)
    assert code.decode(code.encode(torch.zeros(1))).item() == 0.0
    assert not signed or code.zero == 0


@given(ends=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted), signed=st.booleans())
def test_a_range_uses_all_codes(ends: list[float], signed: bool) -> None:
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    assume(high - low > 1e-20)
    first, last = Code.of_range(*ends, signed=signed).encode(torch.tensor([low, high])).tolist()
    assert max(-first, last) == 127 if signed else last - first >= 254  # both ends are rounded


def test_a_range_of_nothing_is_still_a_code() -> None:
    for signed in (False, True):
        code = Code.of_range(0.0, 0.0, signed=signed)
        assert code.scale > np.finfo(np.float32).tiny
        assert code.encode(torch.zeros(2)).tolist() == [0, 0]


@pytest.mark.parametrize("code", [Code(0.037, 77), Code(0.11, 0, signed=True), Code(1 / 9, 0)])
def test_an_engine_encodes_to_the_same_codes(code: Code) -> None:
    builder = GraphBuilder(18)
    x = ir.Value(name="x", shape=ir.Shape((4096,)), type=ir.TensorType(ir.DataType.FLOAT))
    zero = np.dtype(code.dtype).type(code.zero)
    codes = builder.quantized(x, code.scale, zero, "codes")
    graph = ir.Model(
        builder.graph([x], [codes, builder.dequantized(codes, code.scale, zero, "back")], "g"), ir_version=10
    )
    values = np.random.default_rng(0).normal(0, 8, 4096).astype(np.float32)
    values[:600] = np.float32(code.scale) * (np.arange(600, dtype=np.float32) / 2 - 150)  # ties among them
    encoded, decoded = run(graph, {"x": values}, optimize=False)
    expected = code.encode(torch.from_numpy(values))
    np.testing.assert_array_equal(encoded, expected.numpy().astype(code.dtype))
    np.testing.assert_array_equal(decoded, code.decode(expected).numpy())
