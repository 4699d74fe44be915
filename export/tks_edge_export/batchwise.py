"""Which operators run T timesteps as one, and along which axis.

f(concat(x[1], ..., x[T]; axis a)) = concat(f(x[1]), ..., f(x[T]); axis b)          for operands that never change

A rule answers for one node by itself: that its output, cut along b, depends slice for slice on its operands cut along
a. Whether that axis is the batch does not matter, so nothing is assumed of what an axis means or of how large it is,
and joining the rules up along a graph stays right whatever reshapes and transposes lie between. What no rule covers is
repeated once a step, which is always right.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.merge_rules import RULES
from tks_edge_export.merging import Merging, Operands
from tks_edge_export.over_time import OverTime, merged_shape
from tks_edge_export.passes.reshape_chain import is_reshape
from tks_edge_export.values import static_shape


def merging(node: ir.Node, axes: Sequence[int | None]) -> Merging | str:
    """How T timesteps of `node` run as one, or why they cannot.

    Args:
        node: of one captured timestep.
        axes: for every input the axis along which its timesteps are joined; None where it is the same at every step.
    """
    rule = RULES.get(node.op_type) if node.domain == "" else None
    if rule is None:
        return f"nothing is known about {node.op_type}"
    shapes = tuple(_shape(value) for value in node.inputs)
    outputs = tuple(static_shape(value) for value in node.outputs)
    for value, axis, shape in zip(node.inputs, axes, shapes, strict=True):
        if value is not None and (shape is None or (axis is not None and axis >= len(shape))):
            return "an operand has no such axis, or no static shape"
    if not all(outputs):
        return "an output has no axis, or no static shape"
    return rule(Operands(node, tuple(axes), shapes, tuple(shape or () for shape in outputs)))


def _shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The static shape of a value, that of a constant where none is noted."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return static_shape(value) if tensor is None else tuple(tensor.shape.numpy())


def append_merged(
    builder: GraphBuilder, node: ir.Node, inputs: Sequence[OverTime | None], timesteps: int, merged: Merging
) -> dict[ir.Value, OverTime]:
    """Append `node` once for all timesteps, as `merging` says; returns its outputs over time."""
    shapes = [merged_shape(old, timesteps, axis) for old, axis in zip(node.outputs, merged.outputs, strict=True)]
    operands = [
        None if value is None else value.still if axis is None else value.merged(axis)
        for value, axis in zip(inputs, merged.inputs, strict=True)
    ]
    if is_reshape(node) and operands[0] is not None:
        operand, name = operands[0], str(node.outputs[0].name)
        copies = [builder.shaped("Reshape", [operand, builder.integers(shapes[0])], name, shapes[0])]
    else:
        if merged.target is not None:
            operands[merged.target] = builder.integers(shapes[0])
        copies = list(builder.copy(node, operands, ""))
    for copy, shape in zip(copies, shapes, strict=True):
        copy.shape = ir.Shape(shape)
    return {
        old: OverTime.of_merged(builder, timesteps, copy, axis)
        for old, copy, axis in zip(node.outputs, copies, merged.outputs, strict=True)
    }
