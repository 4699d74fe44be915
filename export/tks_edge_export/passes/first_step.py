"""Leave the decay and the addition out of the first timestep: the membrane starts at zero.

    decay x 0 = 0          0 + x = x

Refused where the sum has another shape or type than the operand that would stand in for it, or is a graph output.
"""

from __future__ import annotations

import onnx_ir as ir

from tks_edge_export.values import array_of, static_shape


class FirstStep(ir.passes.InPlacePass):
    """Replace products with a zero, and sums with one; unused nodes are left for the clean-up."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place; one sweep in topological order is enough."""
        modified = False
        for node in list(model.graph):
            if refusal(node) is None:
                ir.convenience.replace_all_uses_with(node.outputs[0], _stand_in(node))
                modified = True
        return ir.passes.PassResult(model, modified)


def refusal(node: ir.Node) -> str | None:
    """Why the node cannot be left out, or None when it can."""
    if node.domain != "" or node.op_type not in ("Add", "Mul"):
        return "the node is no sum and no product"
    if not any(_is_zero(value) for value in node.inputs):
        return "no operand is zero"
    output, other = node.outputs[0], _stand_in(node)
    if output.is_graph_output():
        return "the value is a graph output"
    if static_shape(other) != static_shape(output) or other.dtype != output.dtype:
        return "the operand has another shape or type"
    return None


def _stand_in(node: ir.Node) -> ir.Value:
    """What the node computes: the zero of a product, the other operand of a sum."""
    first, second = node.inputs
    if first is None or second is None:
        raise AssertionError("sums and products have two operands")
    return first if _is_zero(first) == (node.op_type == "Mul") else second


def _is_zero(value: ir.Value | None) -> bool:
    array = array_of(value)
    return array is not None and array.size == 1 and not array.any()
