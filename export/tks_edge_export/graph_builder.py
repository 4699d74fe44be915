"""A small builder for ONNX graphs: append nodes, share constants, keep names unique and shapes known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tks_edge_export.values import constant, static_shape

_TO_BOOL = frozenset({"Less", "Not"})


class GraphBuilder:
    """Collects nodes and initializers in order; `graph` makes a graph of them.

    Args:
        opset: version of the default ONNX domain.
    """

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}

    def add(self, operator: str, inputs: Sequence[ir.Value | None], name: str) -> ir.Value:
        """Append an element-wise node of the default domain.

        Its output is called `name` and has the shape of the operand of highest rank; it is bool after `Less` and `Not`,
        else of the last operand's type.
        """
        node = ir.Node("", operator, inputs, name=name)
        output = node.outputs[0]
        output.name = name
        present = [value for value in inputs if value is not None]
        output.shape = max(present, key=lambda value: len(value.shape) if value.shape is not None else 0).shape
        output.type = ir.TensorType(ir.DataType.BOOL) if operator in _TO_BOOL else present[-1].type
        self._nodes.append(node)
        return output

    def quantized(self, value: ir.Value, scale: float, zero: np.generic, name: str) -> ir.Value:
        """Append the quantization of `value` to the type of `zero`, by one scale."""
        point = self.constant(f"zero.{zero.dtype}.{zero}", np.asarray(zero))
        codes = self.shaped("QuantizeLinear", [value, self.scalar(scale), point], name, static_shape(value) or ())
        codes.type = point.type
        return codes

    def dequantized(self, codes: ir.Value, scale: float, zero: np.generic, name: str) -> ir.Value:
        """Append what `codes` of the type of `zero` stand for, in float32."""
        point = self.constant(f"zero.{zero.dtype}.{zero}", np.asarray(zero))
        value = self.shaped("DequantizeLinear", [codes, self.scalar(scale), point], name, static_shape(codes) or ())
        value.type = ir.TensorType(ir.DataType.FLOAT)
        return value

    def shift_right(self, codes: ir.Value, bits: int, name: str) -> ir.Value:
        """Append the shift of unsigned `codes` by `bits`."""
        count = self.constant(f"bits.{bits}", np.asarray(bits, np.uint8))
        direction = [ir.AttrString("direction", "RIGHT")]
        return self.shaped("BitShift", [codes, count], name, static_shape(codes) or (), direction)

    def cast(self, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Value:
        """Append a cast of `value` to `dtype`."""
        node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype.value)], name=name)
        output = node.outputs[0]
        output.name, output.shape, output.type = name, value.shape, ir.TensorType(dtype)
        self._nodes.append(node)
        return output

    def split(self, value: ir.Value, parts: int, name: str) -> list[ir.Value]:
        """Cut `value` along axis 0 into equal parts."""
        rows, *rest = static_shape(value) or ()
        size = rows // parts
        node = ir.Node("", "Split", [value, self.integers([size] * parts)], num_outputs=parts, name=f"{name}.split")
        for index, output in enumerate(node.outputs):
            output.name, output.shape, output.type = f"{name}.t{index}", ir.Shape([size, *rest]), value.type
        self._nodes.append(node)
        return list(node.outputs)

    def concatenate(self, values: Sequence[ir.Value], name: str) -> ir.Value:
        """Join values of one shape along axis 0."""
        rows, *rest = static_shape(values[0]) or ()
        return self.shaped("Concat", values, name, (rows * len(values), *rest), [ir.AttrInt64("axis", 0)])

    def shaped(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        name: str,
        shape: Sequence[int],
        attributes: Iterable[ir.Attr] = (),
    ) -> ir.Value:
        """Append a node whose output has a shape of its own; the type is that of the first input."""
        node = ir.Node("", operator, inputs, attributes, name=name)
        output = node.outputs[0]
        output.name, output.shape, output.type = name, ir.Shape(shape), inputs[0].type
        self._nodes.append(node)
        return output

    def copy(self, node: ir.Node, inputs: Sequence[ir.Value | None], suffix: str) -> Sequence[ir.Value]:
        """Append a copy of `node` on other inputs; `suffix` is added to its name and its outputs' names.

        Outputs keep their shape; whoever gives larger inputs sets it anew.
        """
        clone = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            node.attributes.values(),
            num_outputs=len(node.outputs),
            name=f"{node.name}{suffix}",
        )
        for new, old in zip(clone.outputs, node.outputs, strict=True):
            new.name, new.shape, new.type = f"{old.name}{suffix}", old.shape, old.type
        self._nodes.append(clone)
        return clone.outputs

    def scalar(self, number: float, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        """A constant of this type without axes; the same number is stored once."""
        name = f"constant.{number!r}" if dtype == ir.DataType.FLOAT else f"constant.{dtype.name.lower()}.{number!r}"
        return self.constant(name, np.asarray(number, dtype=dtype.numpy()))

    def integers(self, numbers: Sequence[int]) -> ir.Value:
        """A one-dimensional int64 constant; the same numbers are stored once."""
        return self.constant("integers." + ".".join(map(str, numbers)), np.asarray(numbers, dtype=np.int64))

    def constant(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        """A constant called `name`, stored once."""
        if name not in self._initializers:
            self._initializers[name] = constant(name, array)
        return self._initializers[name]

    def weight(self, value: ir.Value) -> ir.Value:
        """The initializer of another graph, stored once, as a value of this one."""
        name = value.name or "weight"
        if name not in self._initializers:
            copy = ir.Value(name=name, const_value=value.const_value)
            copy.shape, copy.type = value.shape, value.type
            copy.meta.update(value.meta)
            self._initializers[name] = copy
        return self._initializers[name]

    def graph(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], name: str) -> ir.Graph:
        """The graph of everything that was appended."""
        return ir.Graph(
            inputs,
            outputs,
            nodes=self._nodes,
            initializers=list(self._initializers.values()),
            opset_imports={"": self._opset},
            name=name,
        )
