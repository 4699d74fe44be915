"""Remove reshapes that change nothing, and merge reshapes of reshapes.

    reshape(reshape(x, s), t) = reshape(x, t)          reshape(x, shape of x) = x

Both hold for any static shapes: a reshape keeps the order of the elements. Refused where a shape is not static, or
where the value is a graph output, whose name is part of the contract.
"""

from __future__ import annotations

import onnx_ir as ir

from tks_edge_export.passes.reshape_chain import chain_origin, is_reshape
from tks_edge_export.values import array_of, static_shape


class RemoveReshapes(ir.passes.InPlacePass):
    """Bypass chains of reshapes and drop the ones that keep the shape; unused nodes are left for the clean-up."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        modified = False
        for node in list(model.graph):
            if not is_reshape(node) or node.inputs[0] is None:
                continue
            origin = chain_origin(node.inputs[0])
            if refusal(node, origin) is None:
                ir.convenience.replace_all_uses_with(node.outputs[0], origin)
                model.graph.remove(node, safe=True)
                modified = True
            elif origin is not node.inputs[0] and _names_every_axis(node):
                node.replace_input_with(0, origin)
                modified = True
        return ir.passes.PassResult(model, modified)


def refusal(node: ir.Node, origin: ir.Value) -> str | None:
    """Why `origin` cannot stand in for the output of this reshape, or None when it can."""
    if node.outputs[0].is_graph_output():
        return "the value is a graph output"
    if static_shape(origin) is None or static_shape(origin) != static_shape(node.outputs[0]):
        return "the shapes differ or are not static"
    return None


def _names_every_axis(node: ir.Node) -> bool:
    """Whether this is a Reshape whose target does not copy axes (0) from its input, which would then be another one."""
    target = array_of(node.inputs[1]) if node.op_type == "Reshape" else None
    return target is not None and 0 not in target
