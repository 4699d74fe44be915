"""Compute in half precision from the first layer with weights on: weights, spikes and currents.

    y = f(x, w)   becomes   fp16: y = f(fp16(x), fp16(w))

Every float32 constant there is rounded to the nearest half, but for those that the operator's definition wants in
float32, as the scales of a Resize; what comes from before, the normalised pixels, is cast once; the logits are cast
back, so that their mean over time is one of float32. What a LIF layer computes its membrane in is decided where it is
laid out. Refused where a constant is too large for a half.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tks_edge_export.errors import ExportError
from tks_edge_export.layers import nodes_from_the_first_layer_on
from tks_edge_export.passes.reshape_chain import chain_origin
from tks_edge_export.signature import schema_of
from tks_edge_export.targets import OPSET
from tks_edge_export.values import array_of, constant, integer

_LARGEST = float(np.finfo(np.float16).max)


class ToFp16(ir.passes.InPlacePass):
    """Change the types of one captured timestep."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        graph = model.graph
        halves = nodes_from_the_first_layer_on(graph)
        outputs = {output for node in halves for output in node.outputs}
        cast: dict[ir.Value, ir.Value] = {}
        for node in [node for node in graph if node in halves]:
            for index, value in enumerate(node.inputs):
                is_float = value is not None and value.dtype == ir.DataType.FLOAT and value not in outputs
                if value is not None and is_float and may_be_half(node, index):
                    if value not in cast:
                        cast[value] = _as_half(graph, value)
                    node.replace_input_with(index, cast[value])
            if integer(node, "to") == ir.DataType.FLOAT:
                node.attributes.add(ir.AttrInt64("to", ir.DataType.FLOAT16))
        for output in outputs:
            if output.dtype == ir.DataType.FLOAT:
                output.type = ir.TensorType(ir.DataType.FLOAT16)
        if outputs:
            _cast_back(graph)
        return ir.passes.PassResult(model, modified=bool(outputs))


def may_be_half(node: ir.Node, index: int) -> bool:
    """Whether the definition of the node's operator lets this input be a half; a LIF layer's may."""
    schema = schema_of(node, OPSET) if node.domain == "" else None
    if schema is None or not schema.inputs:
        return True
    variable = schema.inputs[min(index, len(schema.inputs) - 1)].type_str
    types = {known.type_param_str: known.allowed_type_strs for known in schema.type_constraints}
    return "tensor(float16)" in types.get(variable, (variable,))


def refusal(value: ir.Value) -> str | None:
    """Why a constant cannot be a half, or None when it can."""
    array = array_of(value)
    largest = float(np.abs(array).max()) if array is not None and array.size else 0.0
    if largest <= _LARGEST:
        return None
    return f"{value.name} holds {largest:.4g}; half precision ends at {_LARGEST:.0f}. Use another precision."


def _as_half(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A constant rounded, or the cast of a value that was computed before."""
    array = array_of(value)
    if array is not None:
        reason = refusal(value)
        if reason is not None:
            raise ExportError(reason)
        half = constant(f"{value.name}.fp16", array.astype(np.float16))
        graph.register_initializer(half)
        return half
    return _cast(graph, value, ir.DataType.FLOAT16)


def _cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    name = f"{value.name}.{dtype.name.lower()}"
    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype)], name=name)
    result, producer = node.outputs[0], value.producer()
    result.name, result.shape, result.type = name, value.shape, ir.TensorType(dtype)
    if producer is None:
        graph.insert_before(graph.node(0), node)
    else:
        graph.insert_after(producer, node)
    return result


def _cast_back(graph: ir.Graph) -> None:
    """Give the logits in float32: cast before they are reshaped at the end."""
    output = graph.outputs[0]
    logits = chain_origin(output)
    users = [(use.node, use.idx) for use in logits.uses()]
    result = _cast(graph, logits, ir.DataType.FLOAT)
    for user, index in users:
        user.replace_input_with(index, result)
    if logits is output:
        graph.outputs[0] = result
    value = graph.outputs[0]
    while value is not result:
        value.type = result.type
        producer = value.producer()
        if producer is None or producer.inputs[0] is None:
            raise AssertionError("a chain of reshapes leads back to its origin")
        value = producer.inputs[0]
