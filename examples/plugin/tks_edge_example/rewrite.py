"""Divide by a power of two as a multiplication, which engines compute faster.

    x / 2^k = x * 2^-k

Both sides are the same real number, rounded once, so they are equal to the bit. Refused where the divisor is no
constant of the graph, or has an entry that is no power of two.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tks_edge_export.passes import on_graph
from tks_edge_export.values import array_of


class MultiplyByReciprocal(ir.passes.InPlacePass):
    """Put a Mul in place of each Div that `refusal` has nothing against."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place: one timestep, in which each LIF layer is one opaque node."""
        divisions = [node for node in model.graph if node.op_type == "Div" and refusal(node) is None]
        for node in divisions:
            _replace(node)
        return ir.passes.PassResult(model, modified=bool(divisions))


def refusal(node: ir.Node) -> str | None:
    """Why this division stays, or None where it can be a multiplication."""
    divisor = array_of(node.inputs[1])
    if divisor is None:
        return "the divisor is no constant"
    if divisor.dtype.kind != "f" or not np.all(np.abs(np.frexp(divisor)[0]) == 0.5):
        return "the divisor is no power of two"
    return None


def _replace(node: ir.Node) -> None:
    """The same values under the same names, computed by a multiplication."""
    divided, divisor = node.inputs
    graph, array, given = node.graph, array_of(divisor), node.outputs[0]
    if graph is None or array is None:
        raise ValueError("the division is of no graph, or by no constant")
    factor = ir.Value(name=f"{given.name}.factor", const_value=ir.tensor(np.asarray(1 / array, array.dtype)))
    graph.register_initializer(factor)
    product = ir.node("Mul", [divided, factor], name=node.name)
    made = product.outputs[0]
    made.name, made.type, made.shape = given.name, given.type, given.shape
    product.metadata_props.update(node.metadata_props)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [product], [given], [made])


MULTIPLY_BY_RECIPROCAL = on_graph("multiply_by_reciprocal", MultiplyByReciprocal())
