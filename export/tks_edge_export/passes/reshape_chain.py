"""What the passes on reshapes share: which operators only reshape, and where a chain of reshapes begins."""

from __future__ import annotations

import onnx_ir as ir

_RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})


def is_reshape(node: ir.Node | None) -> bool:
    """Whether the node keeps the elements and their order, and changes the shape alone."""
    return node is not None and node.domain == "" and node.op_type in _RESHAPES


def chain_origin(value: ir.Value) -> ir.Value:
    """The value at the beginning of the chain of reshapes that ends in `value`; itself where there is none."""
    producer = value.producer()
    while producer is not None and is_reshape(producer) and producer.inputs[0] is not None:
        value = producer.inputs[0]
        producer = value.producer()
    return value
