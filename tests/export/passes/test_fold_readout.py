"""The mean over the timesteps moves before what is linear, and no further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.export.lowering import Prepared
from tests.export.passes.graphs import Array, model, named, normal, operators, run
from tks_edge_export import Options
from tks_edge_export.passes.fold_readout import FoldReadout, refusal
from tks_edge_export.values import static_shape

T, N, C, K = 3, 2, 4, 5
BY_STEP = {"by_step": np.array([T, N, K]), "time": np.array([0])}
READOUT = [
    helper.make_node("Reshape", ["z", "by_step"], ["steps"]),
    helper.make_node("ReduceMean", ["steps", "time"], ["y"], keepdims=0),
]
IMAGES = {"x": [T * N, C, 4, 4]}
VECTORS = {"x": [T * N, C]}


def classifier() -> ir.Model:
    """Pooling, flattening and a linear layer on every step, then the mean."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("AveragePool", ["r"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["z"], transB=1, alpha=0.5),
        *READOUT,
    ]
    return model(nodes, {"w": normal(K, C), "b": normal(K), **BY_STEP}, IMAGES, [N, K])


def test_pooling_and_classifier_run_once_a_sample() -> None:
    graph, x = classifier(), normal(T * N, C, 4, 4)
    before = run(graph, x=x)
    assert FoldReadout()(graph).modified
    order = ["Relu", "Reshape", "ReduceMean", "AveragePool", "GlobalAveragePool", "Flatten", "Gemm"]
    assert [name for name in operators(graph) if name in order][-6:] == order[1:]
    assert static_shape(named(graph, "y").inputs[0]) == (N, C)
    np.testing.assert_allclose(run(graph, x=x), before, rtol=0, atol=2e-6)  # sums in another order


def linear(*, weight: list[int] | None = None, added: list[int] | None = None) -> ir.Model:
    """A matrix product and a sum on tokens, then a mean over these."""
    weights = {"w": normal(*(weight or [C, K])), "b": normal(*(added or [K])), "axis": np.array([1]), **BY_STEP}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("ReduceMean", ["s", "axis"], ["z"], keepdims=0),
        *READOUT,
    ]
    return model(nodes, weights, {"x": [T * N, 6, C]}, [N, K])


def test_the_mean_over_tokens_and_their_projection_commute() -> None:
    graph, x = linear(), normal(T * N, 6, C)
    before = run(graph, x=x)
    FoldReadout()(graph)
    assert static_shape(named(graph, "y").inputs[0]) == (N, 6, K)
    assert operators(graph)[-3:] == ["MatMul", "Add", "ReduceMean"]
    np.testing.assert_allclose(run(graph, x=x), before, rtol=0, atol=2e-6)  # sums in another order


def plain(*nodes: onnx.NodeProto, weights: dict[str, Array] | None = None, others: tuple[str, ...] = ()) -> ir.Model:
    return model([*nodes, *READOUT], {**BY_STEP, **(weights or {})}, VECTORS, [N, K], *others)


GEMM = helper.make_node("Gemm", ["x", "w"], ["z"])
WEIGHT = {"w": normal(C, K)}


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (plain(GEMM, weights=WEIGHT), None),
        (plain(GEMM, weights=WEIGHT, others=("steps",)), "the logits of every step are an output too"),
        (
            model([helper.make_node("Neg", ["x"], ["y"])], {}, {"x": [2]}, [2]),
            "the readout is no mean over the timesteps",
        ),
        (
            plain(helper.make_node("Gemm", ["x", "w"], ["g"]), helper.make_node("Relu", ["g"], ["z"]), weights=WEIGHT),
            "nothing linear stands before the mean",
        ),
        (
            plain(GEMM, helper.make_node("Exp", ["z"], ["e"]), weights=WEIGHT, others=("e",)),
            "nothing linear stands before the mean",
        ),
        (
            plain(helper.make_node("Gemm", ["x", "w", "b"], ["z"]), weights=WEIGHT | {"b": normal(T * N, K)}),
            "nothing linear stands before the mean",
        ),
    ],
    ids=["linear", "per step", "no mean", "nonlinear", "used elsewhere", "a bias of its own for each step"],
)
def test_the_mean_stays_with_a_reason(graph: ir.Model, reason: str | None) -> None:
    assert refusal(graph) == reason
    assert FoldReadout()(graph).modified == (reason is None)


def test_a_mean_over_the_samples_is_not_linear_in_each_of_them() -> None:
    nodes = [helper.make_node("ReduceMean", ["x", "axis"], ["m"]), helper.make_node("Add", ["m", "c"], ["z"]), *READOUT]
    graph = model(nodes, {"axis": np.array([0]), "c": normal(T * N, K), **BY_STEP}, {"x": [T * N, K]}, [N, K])
    assert refusal(graph) == "nothing linear stands before the mean"


def test_one_timestep_is_its_own_mean_unless_the_logits_are_spikes() -> None:
    def single(logits: str) -> ir.Model:
        shape = {"by_step": np.array([1, N, K]), "time": np.array([0])}
        nodes = [helper.make_node("Relu", ["x"], [logits]), helper.make_node("Reshape", [logits, "by_step"], ["steps"])]
        nodes.append(helper.make_node("ReduceMean", ["steps", "time"], ["y"], keepdims=0))
        return model(nodes, shape, {"x": [N, K]}, [N, K])

    graph, x = single("z"), normal(N, K)
    assert FoldReadout()(graph).modified
    assert [value.name for value in graph.graph.outputs] == ["y"]
    assert named(graph, "y").op_type == "Relu"
    np.testing.assert_array_equal(run(graph, x=x), np.maximum(x, 0))
    assert refusal(single("layer.spikes")) == "the logits are spikes, which keep their name"


@settings(deadline=None, max_examples=8)
@given(timesteps=st.integers(1, 6))
def test_the_classifier_of_a_network_runs_on_one_mean(tiny: Prepared, timesteps: int) -> None:
    folded = tiny.compiler.compile(Options(timesteps)).model
    kept = tiny.compiler.compile(Options(timesteps, skip=frozenset({"fold_readout"}))).model
    (gemm,) = (node for node in folded.graph if node.op_type == "Gemm")
    assert static_shape(gemm.outputs[0]) == (2, 4)
    before, after = (run(graph, input=tiny.inputs[:2]) for graph in (kept, folded))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)  # float32, a mean before or after 64 products


def test_with_the_logits_of_every_step_the_mean_stays(tiny: Prepared, tmp_path: Path) -> None:
    lowered = tiny.lower(Options(3, per_step=True), tmp_path)
    outputs = lowered.run("onnxruntime", tiny.inputs[:2])
    assert outputs["logits_per_step"].shape == (3, 2, 4)
    np.testing.assert_allclose(outputs["logits_per_step"].mean(0), outputs["logits"], rtol=0, atol=1e-6)
    assert lowered.compared(tiny.inputs).problem() is None
