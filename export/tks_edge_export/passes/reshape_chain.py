"""What the passes on reshapes share: which operators only reshape, and where a chain of reshapes begins."""

from __future__ import annotations

import onnx_ir as ir

_RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})


def is_reshape(node: ir.Node | None) -> bool:
    """Whether the node keeps the elements and their order, and changes the shape alone."""
    return node is not None and node.domain == "" and node.op_type in _RESHAPES


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of `value` where every axis is known, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(value.shape.numpy())


def chain_origin(value: ir.Value) -> ir.Value:
    """The value at the beginning of the chain of reshapes that ends in `value`; itself where there is none."""
    producer = value.producer()
    while producer is not None and is_reshape(producer) and producer.inputs[0] is not None:
        value = producer.inputs[0]
        producer = value.producer()
    return value
