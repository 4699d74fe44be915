"""Values of an onnx-ir graph: their static shapes, and constants."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx_ir as ir


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of `value` where every axis is known, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(value.shape.numpy())


def constant(name: str, array: npt.NDArray[Any]) -> ir.Value:
    """A constant called `name`, not yet part of a graph."""
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape = ir.Shape(array.shape)
    value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    return value
