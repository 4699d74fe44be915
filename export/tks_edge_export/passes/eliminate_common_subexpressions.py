"""Compute once what is computed twice: onnx-ir's elimination of common subexpressions.

    a = f(x), b = f(x)   becomes   a = f(x), b = a

Refused where b are the spikes of a LIF layer: another one on the same current fires the same, but each must be found
by its own name.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from tks_edge_export.lif_steps import is_spikes

_MARK = "tks_edge_spikes"


class EliminateCommonSubexpressions(ir.passes.InPlacePass):
    """Eliminate common subexpressions, and leave every LIF layer its spikes."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        named = [node for node in model.graph if is_spikes(node.outputs[0].name)]
        for node in named:
            # Nodes with different attributes are no common subexpression.
            node.attributes.add(ir.AttrString(_MARK, str(node.outputs[0].name)))
        result = CommonSubexpressionEliminationPass()(model)
        for node in named:
            del node.attributes[_MARK]
        return ir.passes.PassResult(model, result.modified)
