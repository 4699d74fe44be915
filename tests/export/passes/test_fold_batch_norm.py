"""Batch norm becomes part of the convolution before it, and stays where that would change something."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import helper

from tests.export.passes.graphs import model, normal, operators, run
from tks_edge_export.passes import fold_batch_norm


def conv_norm(*, bias: bool, shared: bool = False, constant: bool = True) -> ir.Model:
    weights = {
        "w": normal(3, 2, 3, 3),
        "gamma": normal(3),
        "beta": normal(3),
        "mean": normal(3),
        "var": normal(3) ** 2 + 0.1,
    }
    if bias:
        weights["b"] = normal(3)
    inputs = {"x": [1, 2, 5, 5]}
    if not constant:
        del weights["gamma"]
        inputs["gamma"] = [3]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"] if bias else ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n" if shared else "y"], epsilon=1e-3
        ),
    ]
    if shared:
        nodes.append(helper.make_node("Add", ["n", "c"], ["y"]))
    return model(nodes, weights, inputs, [1, 3, 5, 5])


def test_batch_norm_is_folded_into_the_convolution() -> None:
    for bias in (False, True):
        graph, x = conv_norm(bias=bias), normal(1, 2, 5, 5)
        before = run(graph, x=x)
        assert fold_batch_norm.FoldBatchNorm()(graph).modified
        assert operators(graph) == ["Conv"]
        np.testing.assert_allclose(run(graph, x=x), before, rtol=2e-6, atol=2e-6)  # float32, sums of 18 products


def test_batch_norm_is_left_alone_with_a_reason() -> None:
    shared, dynamic = conv_norm(bias=False, shared=True), conv_norm(bias=False, constant=False)
    assert fold_batch_norm.refusal(list(shared.graph)[1]) == ("the convolution's output is used elsewhere too")
    assert fold_batch_norm.refusal(list(dynamic.graph)[1]) == "a weight is not a constant"
    assert not fold_batch_norm.FoldBatchNorm()(shared).modified
    relu = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("BatchNormalization", ["r", "s", "s", "s", "s"], ["y"]),
    ]
    alone = model(relu, {"s": np.ones(2, np.float32)}, {"x": [1, 2, 5, 5]}, [1, 2, 5, 5])
    assert fold_batch_norm.refusal(list(alone.graph)[1]) == "it does not follow a convolution"
