"""A spike by HardSigmoid is the comparison itself: 0 or 1, and at equality 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.export.lowering import Prepared
from tests.export.passes.graphs import RNG, Array, model, named, normal, operators, run
from tks_edge_export import Options
from tks_edge_export.passes.hard_sigmoid import HardSigmoid, Spikes, refusal

FIRES = [
    helper.make_node("Less", ["h", "threshold"], ["rests"]),
    helper.make_node("Not", ["rests"], ["denied"]),
    helper.make_node("Cast", ["denied"], ["s"], to=TensorProto.FLOAT),
]


def neuron(weight: Array, bias: Array | None, threshold: float, *others: str, kind: str = "Conv") -> ir.Model:
    """A convolution, a threshold, and the spikes negated."""
    weights = {"w": weight, "threshold": np.float32(threshold)} | ({} if bias is None else {"b": bias})
    inputs = ["x", "w", *([] if bias is None else ["b"])] if kind == "Conv" else ["x"]
    nodes = [helper.make_node(kind, inputs, ["h"]), *FIRES, helper.make_node("Neg", ["s"], ["y"])]
    shape = [2, len(weight), 3, 3] if kind == "Conv" else [2, weight.shape[1], 5, 5]
    return model(nodes, weights, {"x": [2, weight.shape[1], 5, 5]}, shape, *others)


def spikes_of(graph: ir.Model) -> Spikes:
    less = named(graph, "rests")
    membrane, rests, denied = less.inputs[0], less.outputs[0], named(graph, "denied").outputs[0]
    assert membrane is not None
    return Spikes(named(graph, "s"), denied, rests, membrane, 1.0)


@settings(deadline=None, max_examples=40)
@given(threshold=st.integers(-6, 6), seed=st.integers(0, 2**31))
def test_membranes_that_meet_the_threshold_fire(threshold: int, seed: int) -> None:
    """Whole numbers, so that sums are exact in any order and many of them are equal to the threshold."""
    generator = np.random.default_rng(seed)
    weight, bias, x = (
        generator.integers(-3, 4, shape).astype(np.float32) for shape in ((4, 2, 3, 3), (4,), (2, 2, 5, 5))
    )
    graph = neuron(weight, bias, threshold / 2)
    before = run(graph, x=x)
    assert HardSigmoid()(graph).modified
    assert operators(graph) == ["Conv", "Less", "Not", "HardSigmoid", "Neg"]  # the clean-up removes the comparison
    for optimize in (True, False):
        np.testing.assert_array_equal(run(graph, optimize=optimize, x=x), before)


def test_equality_is_met_and_spikes_are_nothing_but_zero_and_one() -> None:
    weight, x = np.ones((1, 1, 3, 3), np.float32), RNG.integers(0, 2, (2, 1, 5, 5)).astype(np.float32)
    for threshold, amount in ((4.0, 4), (5.0, 5)):
        graph = neuron(weight, np.zeros(1, np.float32), threshold)
        HardSigmoid()(graph)
        sums = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3)).sum(axis=(4, 5))
        assert (sums == amount).any()
        np.testing.assert_array_equal(-run(graph, x=x), (sums >= threshold).astype(np.float32))
    rough = neuron(normal(4, 2, 3, 3), normal(4), 0.3)
    HardSigmoid()(rough)
    assert set(np.unique(-run(rough, x=normal(2, 2, 5, 5)))) == {0.0, 1.0}


@pytest.mark.parametrize("optimize", [True, False], ids=["fused", "as written"])
@settings(deadline=None, max_examples=20)
@given(threshold=st.one_of(st.sampled_from((0.5, 1.0)), st.floats(0.0625, 8.0, width=32)))
def test_the_next_number_below_the_threshold_does_not_fire_at_all(optimize: bool, threshold: float) -> None:
    """The kernel passes its middle value on, so a membrane can be as near the threshold as float32 lets it."""
    middle, meets = np.zeros((1, 1, 3, 3), np.float32), np.float32(threshold)
    middle[..., 1, 1] = 1.0
    graph = neuron(middle, np.zeros(1, np.float32), threshold)
    assert HardSigmoid()(graph).modified
    below, above = np.nextafter(meets, np.float32(-np.inf)), np.nextafter(meets, np.float32(np.inf))
    for membrane, spike in ((below, 0.0), (meets, 1.0), (above, 1.0)):
        spikes = -run(graph, optimize=optimize, x=np.full((2, 1, 5, 5), membrane, np.float32))
        assert np.all(spikes == spike), (membrane, threshold)


WEIGHT, BIAS = normal(4, 2, 3, 3), normal(4)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (neuron(WEIGHT, BIAS, 1.0), None),
        (neuron(WEIGHT, BIAS, 1.0, "h"), "the membrane is needed for the next timestep"),
        (neuron(WEIGHT, None, 1.0), "it does not follow a convolution with a bias"),
        (neuron(WEIGHT, BIAS, 1.0, kind="Sigmoid"), "it does not follow a convolution with a bias"),
    ],
    ids=["fits", "membrane is an output", "no bias", "no convolution"],
)
def test_a_comparison_stays_with_a_reason(graph: ir.Model, reason: str | None) -> None:
    assert refusal(spikes_of(graph)) == reason
    assert HardSigmoid()(graph).modified == (reason is None)


def computed(inputs: Sequence[str], dtype: int = TensorProto.FLOAT) -> ir.Model:
    """A convolution whose bias is an input, in a type of choice."""
    real = np.float32 if dtype == TensorProto.FLOAT else np.float16
    to = helper.make_node("Cast", ["denied"], ["s"], to=dtype)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["h"]), *FIRES[:2], to, helper.make_node("Neg", ["s"], ["y"])]
    weights = {"w": WEIGHT.astype(real), "b": BIAS.astype(real), "threshold": np.asarray(1.0, real)}
    shapes = {"x": [2, 2, 5, 5], "b": [4]}
    given = {name: array for name, array in weights.items() if name not in inputs}
    return model(nodes, given, {name: shapes[name] for name in inputs}, [2, 4, 3, 3], dtype=dtype)


def test_a_computed_bias_and_half_precision_are_refused() -> None:
    assert refusal(spikes_of(computed(["x", "b"]))) == "the bias is not a constant"
    half = computed(["x"], TensorProto.FLOAT16)
    assert refusal(spikes_of(half)) == "the membrane or the spikes are not float32"
    assert not HardSigmoid()(half).modified


def test_the_membrane_of_the_next_timestep_is_left_alone() -> None:
    weights = {"w": WEIGHT, "b": BIAS, "threshold": np.float32(0.5)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["h"]), *FIRES, helper.make_node("Add", ["s", "h"], ["y"])]
    graph = model(nodes, weights, {"x": [2, 2, 5, 5]}, [2, 4, 3, 3])
    assert refusal(spikes_of(graph)) == "the membrane is needed for the next timestep"


def test_onnxruntime_gets_it_for_one_timestep_alone(tiny: Prepared) -> None:
    plain, fused = (tiny.compiler.compile(Options(1, target=target)) for target in ("generic", "onnxruntime-cpu"))
    assert operators(fused.model).count("HardSigmoid") == 5
    assert not {"Less", "Not"} & {*operators(fused.model)}
    assert "HardSigmoid" not in operators(plain.model)
    assert "hard_sigmoid" in fused.passes
    assert "hard_sigmoid" not in plain.passes
    two = tiny.compiler.compile(Options(2, target="onnxruntime-cpu")).model
    assert "HardSigmoid" not in operators(two)
    batch = tiny.inputs[:2]
    np.testing.assert_array_equal(run(fused.model, input=batch), run(plain.model, input=batch))
