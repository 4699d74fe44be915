"""Values of an onnx-ir graph: their static shapes, and constants."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of `value` where every axis is known, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(value.shape.numpy())


def array_of(value: ir.Value | None) -> Array | None:
    """The array of a constant; None where there is no value, or one that is computed."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def is_constant(value: ir.Value | None) -> bool:
    """Whether there is a value, and it is the same whatever the input."""
    return value is not None and ir.convenience.get_const_tensor(value) is not None


def constant(name: str, array: Array) -> ir.Value:
    """A constant called `name`, not yet part of a graph."""
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape = ir.Shape(array.shape)
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    return value


def shared_constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """The constant of a graph of that name: made with this array, unless it is there."""
    if name not in graph.initializers:
        graph.register_initializer(constant(name, array))
    return graph.initializers[name]


def integer(node: ir.Node, attribute: str, default: int = 0) -> int:
    """An integer attribute of a node, or `default` where it is left out."""
    return node.attributes[attribute].as_int() if attribute in node.attributes else default
