"""Batch norm becomes part of the convolution or product before it, and stays where that would change something."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from tests.export.passes.graphs import Array, model, normal, operators, run
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


NORM = {"gamma": normal(6), "beta": normal(6), "mean": normal(6), "var": normal(6) ** 2 + 0.1}


def norm(value: str, output: str) -> onnx.NodeProto:
    return helper.make_node("BatchNormalization", [value, "gamma", "beta", "mean", "var"], [output], epsilon=1e-3)


def transposed(value: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Transpose", [value], [output], perm=[0, 2, 1])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_batch_norm_is_folded_into_a_transposed_convolution(groups: int, bias: bool) -> None:
    weights = NORM | {"w": normal(6, 6 // groups, 3, 3)} | ({"b": normal(6)} if bias else {})
    layer = helper.make_node("ConvTranspose", ["x", "w", *(["b"] if bias else [])], ["c"], group=groups)
    check_folded([layer, norm("c", "y")], weights, {"x": [2, 6, 4, 4]}, [2, 6, 6, 6], ["ConvTranspose"])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("flipped", [0, 1])
def test_batch_norm_is_folded_into_a_linear_layer(flipped: int, bias: bool) -> None:
    weights = NORM | {"w": normal(6, 5) if flipped else normal(5, 6)} | ({"b": normal(6)} if bias else {})
    layer = helper.make_node("Gemm", ["x", "w", *(["b"] if bias else [])], ["c"], transB=flipped)
    check_folded([layer, norm("c", "y")], weights, {"x": [2, 5]}, [2, 6], ["Gemm"])


@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_is_folded_into_a_linear_layer_on_tokens(bias: bool) -> None:
    weights = NORM | {"w": normal(5, 6), "b": normal(6)}
    layer = [helper.make_node("MatMul", ["x", "w"], ["p"])]
    layer += [helper.make_node("Add", ["b", "p"], ["c"])] if bias else []
    value = "c" if bias else "p"
    around = [*layer, transposed(value, "t"), norm("t", "n"), transposed("n", "y")]
    left = ["MatMul", "Add", "Transpose", "Transpose"]
    check_folded(around, weights, {"x": [2, 4, 5]}, [2, 4, 6], left)
    weights["shape"], weights["back"] = np.array([8, 6]), np.array([2, 4, 6])
    merged = [
        *layer,
        helper.make_node("Reshape", [value, "shape"], ["t"]),
        norm("t", "n"),
        helper.make_node("Reshape", ["n", "back"], ["y"]),
    ]
    check_folded(merged, weights, {"x": [2, 4, 5]}, [2, 4, 6], ["MatMul", "Add", "Reshape", "Reshape"])


def check_folded(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    inputs: dict[str, list[int]],
    output: list[int],
    left: list[str],
) -> None:
    graph, x = linear_graph(nodes, weights, inputs, output), normal(*inputs["x"])
    before = run(graph, x=x)
    assert fold_batch_norm.FoldBatchNorm()(graph).modified
    assert operators(graph) == left
    np.testing.assert_allclose(run(graph, x=x), before, rtol=1e-5, atol=1e-5)  # float32, sums of at most 54 products
    assert not fold_batch_norm.FoldBatchNorm()(graph).modified


def linear_graph(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], inputs: dict[str, list[int]], output: list[int]
) -> ir.Model:
    """A graph whose product and its bias come from one module, as the tracer records it."""
    used = {name for node in nodes for name in node.input}
    graph = model(nodes, {name: array for name, array in weights.items() if name in used}, inputs, output)
    for node in graph.graph:
        if node.op_type in ("MatMul", "Add"):
            node.metadata_props["pkg.torch.onnx.name_scopes"] = "['', 'linear', 'node']"
    return graph


TOKENS = {"x": [2, 6, 6]}


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (
            [helper.make_node("MatMul", ["x", "w"], ["p"]), norm("p", "y")],
            "it counts other channels than the layer before it",
        ),
        (
            [
                helper.make_node("MatMul", ["x", "w"], ["p"]),
                transposed("p", "t"),
                norm("t", "n"),
                helper.make_node("Add", ["n", "p"], ["y"]),
            ],
            "the layer's output is used elsewhere too",
        ),
        (
            [helper.make_node("MatMul", ["x", "x"], ["p"]), transposed("p", "t"), norm("t", "y")],
            "a weight is not a constant",
        ),
        (
            [helper.make_node("MatMul", ["x", "many"], ["p"]), transposed("p", "t"), norm("t", "y")],
            "the weight is not a matrix",
        ),
        (
            [
                helper.make_node("MatMul", ["x", "w"], ["p"]),
                helper.make_node("Reshape", ["p", "halves"], ["t"]),
                norm("t", "n"),
                helper.make_node("Reshape", ["n", "whole"], ["y"]),
            ],
            "it does not follow a convolution or a matrix product",
        ),
        (
            [
                helper.make_node("Reshape", ["x", "rows"], ["r"]),
                helper.make_node("Gemm", ["r", "w"], ["p"], alpha=0.5),
                norm("p", "n"),
                helper.make_node("Reshape", ["n", "whole"], ["y"]),
            ],
            "the product is scaled",
        ),
    ],
)
def test_a_norm_of_other_channels_than_those_of_the_product_stays(nodes: list[onnx.NodeProto], reason: str) -> None:
    shapes = {"halves": np.array([4, 6, 3]), "whole": np.array([2, 6, 6]), "rows": np.array([12, 6])}
    weights = NORM | {"w": normal(6, 6), "many": normal(2, 6, 6)} | shapes
    graph = linear_graph(nodes, weights, TOKENS, [2, 6, 6])
    (node,) = (node for node in graph.graph if node.op_type == "BatchNormalization")
    assert fold_batch_norm.refusal(node) == reason
    assert not fold_batch_norm.FoldBatchNorm()(graph).modified


def test_batch_norm_is_left_alone_with_a_reason() -> None:
    shared, dynamic = conv_norm(bias=False, shared=True), conv_norm(bias=False, constant=False)
    assert fold_batch_norm.refusal(list(shared.graph)[1]) == "the layer's output is used elsewhere too"
    assert fold_batch_norm.refusal(list(dynamic.graph)[1]) == "a weight is not a constant"
    assert not fold_batch_norm.FoldBatchNorm()(shared).modified
    relu = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("BatchNormalization", ["r", "s", "s", "s", "s"], ["y"]),
    ]
    alone = model(relu, {"s": np.ones(2, np.float32)}, {"x": [1, 2, 5, 5]}, [1, 2, 5, 5])
    assert fold_batch_norm.refusal(list(alone.graph)[1]) == "it does not follow a convolution or a matrix product"
