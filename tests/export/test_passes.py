"""Each rewrite keeps what the graph computes, and refuses with its reason where it would not."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tks_edge_export.passes import fold_batch_norm, remove_reshapes, sink_reshapes

RNG = np.random.default_rng(0)
FLOAT = TensorProto.FLOAT


def model(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], inputs: dict[str, list[int]], output: list[int]
) -> ir.Model:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, output)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def run(graph: ir.Model, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, inputs)[0]
    return result


def operators(graph: ir.Model) -> list[str]:
    return [node.op_type for node in graph.graph]


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


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
        np.testing.assert_allclose(run(graph, x=x), before, rtol=0, atol=2e-6)  # float32, sums of 18 products


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


def reshaped_sum(other: list[int], constant: np.ndarray | None = None) -> ir.Model:
    """reshape(a) + (reshape(b) or a constant), reshaped back."""
    weights = {"time": np.array([1, 2, 3, 4]), "flat": np.array([2, 3, 4])}
    inputs = {"a": [2, 3, 4]}
    nodes = [helper.make_node("Reshape", ["a", "time"], ["ra"])]
    if constant is None:
        inputs["b"] = other
        nodes.append(helper.make_node("Reshape", ["b", "time"], ["rb"]))
    else:
        weights["rb"] = constant
    nodes += [helper.make_node("Add", ["ra", "rb"], ["s"]), helper.make_node("Reshape", ["s", "flat"], ["r"])]
    nodes.append(helper.make_node("Neg", ["r"], ["y"]))
    return model(nodes, weights, inputs, [2, 3, 4])


def test_a_time_axis_of_one_vanishes() -> None:
    a, b = normal(2, 3, 4), normal(2, 3, 4)
    graph = reshaped_sum([2, 3, 4])
    before = run(graph, a=a, b=b)
    sink_reshapes.SinkReshapes()(graph)
    remove_reshapes.RemoveReshapes()(graph)
    assert [name for name in operators(graph) if name in ("Add", "Neg")] == ["Add", "Neg"]
    negation = next(node for node in graph.graph if node.op_type == "Neg")
    producer = negation.inputs[0].producer() if negation.inputs[0] is not None else None
    assert producer is not None
    assert producer.op_type == "Add"
    np.testing.assert_array_equal(run(graph, a=a, b=b), before)


def test_a_reshape_sinks_only_where_that_changes_nothing() -> None:
    def reason(graph: ir.Model) -> str | None:
        return sink_reshapes.refusal(next(node for node in graph.graph if node.op_type == "Add"))

    assert reason(reshaped_sum([2, 3, 4])) is None
    assert reason(reshaped_sum([6, 4])) == "the reshaped inputs come from different shapes"
    assert reason(reshaped_sum([], constant=normal(4))) is None
    assert reason(reshaped_sum([], constant=normal(1, 1, 3, 1))) == "a constant would broadcast differently"
    plain = model([helper.make_node("Add", ["a", "a"], ["y"])], {}, {"a": [2]}, [2])
    assert reason(plain) == "no input is reshaped"


def test_reshapes_of_reshapes_merge_and_outputs_keep_their_name() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Reshape", ["r", "t"], ["y"])]
    graph = model(nodes, {"s": np.array([3, 2]), "t": np.array([2, 3])}, {"x": [2, 3]}, [2, 3])
    last = list(graph.graph)[1]
    assert remove_reshapes.refusal(last, graph.graph.inputs[0]) == "the value is a graph output"
    x = normal(2, 3)
    remove_reshapes.RemoveReshapes()(graph)
    assert last.inputs[0] is graph.graph.inputs[0]
    np.testing.assert_array_equal(run(graph, x=x), x)


def test_a_reshape_that_copies_an_axis_is_not_moved_to_another_input() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Reshape", ["r", "t"], ["z"])]
    nodes.append(helper.make_node("Neg", ["z"], ["y"]))
    graph = model(nodes, {"s": np.array([3, 4]), "t": np.array([0, 2, 2])}, {"x": [2, 6]}, [3, 2, 2])
    x = normal(2, 6)
    before = run(graph, x=x)
    remove_reshapes.RemoveReshapes()(graph)
    np.testing.assert_array_equal(run(graph, x=x), before)
