"""What is multiplied by the membrane of the first timestep, or added to it, is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from tests.export.lowering import Prepared
from tests.export.passes.graphs import Array, model, named, normal, run
from tks_edge_export import Options
from tks_edge_export.passes.first_step import FirstStep, refusal

ZERO, HALF = np.float32(0.0), np.float32(0.5)


def charged(zero: Array, *, output: str = "y", first: bool = True) -> ir.Model:
    """zero * 0.5 + x, and its opposite so that the sum is no output; `first`: the zero comes first."""
    product = ["v", "decay"] if first else ["decay", "v"]
    nodes = [
        helper.make_node("Mul", product, ["kept"]),
        helper.make_node("Add", ["kept", "x"], ["h"]),
        helper.make_node("Neg", ["h"], ["y"]),
    ]
    shape = np.broadcast_shapes(zero.shape, (2, 3))
    return model(nodes, {"v": zero, "decay": HALF}, {"x": [2, 3]}, shape, *([] if output == "y" else [output]))


@pytest.mark.parametrize("first", [True, False])
def test_decay_and_sum_of_the_resting_membrane_are_bypassed(first: bool) -> None:
    graph, x = charged(ZERO, first=first), normal(2, 3)
    before = run(graph, x=x)
    assert FirstStep()(graph).modified
    negation = named(graph, "y")
    assert negation.inputs[0] is graph.graph.inputs[0]
    np.testing.assert_array_equal(run(graph, x=x), before)
    np.testing.assert_array_equal(run(graph, x=x), -x)


@pytest.mark.parametrize(
    ("graph", "node", "reason"),
    [
        (charged(ZERO), "y", "the node is no sum and no product"),
        (charged(HALF), "kept", "no operand is zero"),
        (charged(np.zeros((2, 3), np.float32)), "kept", "no operand is zero"),
        (charged(ZERO), "kept", None),
        (charged(np.zeros((1, 1, 1), np.float32)), "h", "no operand is zero"),
    ],
)
def test_a_node_stays_with_a_reason(graph: ir.Model, node: str, reason: str | None) -> None:
    assert refusal(named(graph, node)) == reason


def test_a_sum_that_widens_or_is_an_output_stays() -> None:
    nodes = [helper.make_node("Add", ["zero", "x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    wide = model(nodes, {"zero": np.zeros((1, 1, 1), np.float32)}, {"x": [2, 3]}, [1, 2, 3])
    assert refusal(named(wide, "h")) == "the operand has another shape or type"
    graph = model([helper.make_node("Add", ["zero", "x"], ["y"])], {"zero": ZERO}, {"x": [2, 3]}, [2, 3])
    assert refusal(named(graph, "y")) == "the value is a graph output"
    assert not FirstStep()(graph).modified
    x = normal(2, 3)
    np.testing.assert_array_equal(run(graph, x=x), x)


def test_only_the_first_timestep_loses_its_decay(tiny: Prepared, tmp_path: Path) -> None:
    full = tiny.lower(Options(3, skip=frozenset({"first_step"})), tmp_path).compiled.model
    short = tiny.lower(Options(3), tmp_path).compiled.model
    sums = {
        name: [str(node.name) for node in graph.graph if str(node.name).endswith(".h")]
        for name, graph in (("full", full), ("short", short))
    }
    layers = ("body.0", "body.2", "body.4", "body.6", "body.8")
    assert sums["full"] == [f"{layer}.t{t}.h" for layer in layers for t in (0, 1, 2)]
    assert sums["short"] == [f"{layer}.t{t}.h" for layer in layers for t in (1, 2)]
    assert not [node.name for node in short.graph if str(node.name).endswith(".t0.decayed")]
    np.testing.assert_array_equal(run(full, input=tiny.inputs[:2]), run(short, input=tiny.inputs[:2]))
