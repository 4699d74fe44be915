"""A time axis of one vanishes: reshapes sink behind element-wise nodes, where they meet their inverse."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import helper

from tests.export.passes.graphs import Array, model, named, normal, operators, run
from tks_edge_export.passes import remove_reshapes, sink_reshapes


def reshaped_sum(other: list[int], constant: Array | None = None) -> ir.Model:
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


def test_a_reshape_sinks_through_no_other_node() -> None:
    time = {"time": np.array([1, 2, 3])}
    reshape = helper.make_node("Reshape", ["a", "time"], ["r"])
    softmax = model([reshape, helper.make_node("Softmax", ["r"], ["y"])], time, {"a": [2, 3]}, [1, 2, 3])
    assert sink_reshapes.refusal(named(softmax, "y")) == "the node is not element-wise"
    mixed = model([reshape, helper.make_node("Add", ["r", "b"], ["y"])], time, {"a": [2, 3], "b": [1, 2, 3]}, [1, 2, 3])
    assert sink_reshapes.refusal(named(mixed, "y")) == "an input is neither reshaped nor constant"
    widened = model(
        [reshape, helper.make_node("Add", ["r", "c"], ["y"])], time | {"c": normal(4, 2, 3)}, {"a": [2, 3]}, [4, 2, 3]
    )
    assert sink_reshapes.refusal(named(widened, "y")) == "an input broadcasts"


def test_reshapes_of_reshapes_merge_and_outputs_keep_their_name() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Reshape", ["r", "t"], ["y"])]
    graph = model(nodes, {"s": np.array([3, 2]), "t": np.array([2, 3])}, {"x": [2, 3]}, [2, 3])
    last = list(graph.graph)[1]
    assert remove_reshapes.refusal(last, graph.graph.inputs[0]) == "the value is a graph output"
    x = normal(2, 3)
    remove_reshapes.RemoveReshapes()(graph)
    assert last.inputs[0] is graph.graph.inputs[0]
    np.testing.assert_array_equal(run(graph, x=x), x)


def test_a_reshape_to_another_shape_stays() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Neg", ["r"], ["y"])]
    graph = model(nodes, {"s": np.array([3, 2])}, {"x": [2, 3]}, [3, 2])
    reshape = named(graph, "r")
    assert remove_reshapes.refusal(reshape, graph.graph.inputs[0]) == "the shapes differ or are not static"
    assert not remove_reshapes.RemoveReshapes()(graph).modified


def test_a_reshape_that_copies_an_axis_is_not_moved_to_another_input() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Reshape", ["r", "t"], ["z"])]
    nodes.append(helper.make_node("Neg", ["z"], ["y"]))
    graph = model(nodes, {"s": np.array([3, 4]), "t": np.array([0, 2, 2])}, {"x": [2, 6]}, [3, 2, 2])
    x = normal(2, 6)
    before = run(graph, x=x)
    remove_reshapes.RemoveReshapes()(graph)
    np.testing.assert_array_equal(run(graph, x=x), before)
