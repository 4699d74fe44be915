"""Which formal parameter of its operator each value of a node stands for, and which element types may stand there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir

_NUMPY_NAMES = {"float": "float32", "double": "float64"}
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Use:
    """A value of a node.

    `parameter` is the formal parameter's name; `variable` its type variable, or the type itself: "tensor(float)".
    """

    parameter: str
    variable: str
    value: ir.Value

    @property
    def dtype(self) -> str:
        """NumPy's name of the value's element type; "" where it is not known."""
        tensor = self.value.const_value
        dtype = tensor.dtype if self.value.dtype is None and tensor is not None else self.value.dtype
        return "" if dtype is None else dtype.numpy().name

    def allowed(self, types: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """The element types that may stand here, of those for each type variable; none where the variable is not."""
        return (numpy_name(self.variable),) if self._is_fixed else types.get(self.variable, ())

    def fits(self, types: Mapping[str, Sequence[str]], instead: Mapping[str, str] = _NOTHING) -> bool:
        """Whether the element type, or the one that runs `instead` of it, is among those allowed here."""
        dtype = self.dtype if self._is_fixed else instead.get(self.dtype, self.dtype)
        return dtype in self.allowed(types)

    @property
    def _is_fixed(self) -> bool:
        return self.variable.startswith("tensor(")


def numpy_name(onnx_type: str) -> str:
    """NumPy's name of a type as ONNX's schemas write it, "tensor(float)"."""
    name = onnx_type.removeprefix("tensor(").removesuffix(")")
    return _NUMPY_NAMES.get(name, name)


def schema_of(node: ir.Node, opset: int) -> onnx.defs.OpSchema | None:
    """ONNX's definition of an operator of its own domain; None where it is not in the opset, or no longer for use."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def uses_by_schema(node: ir.Node, schema: onnx.defs.OpSchema) -> list[Use]:
    """The values of a node of ONNX's own domain."""
    inputs = _uses(node.inputs, ((parameter.name, parameter.type_str) for parameter in schema.inputs))
    return [*inputs, *_uses(node.outputs, ((parameter.name, parameter.type_str) for parameter in schema.outputs))]


def uses_by_table(node: ir.Node, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> list[Use]:
    """The values of a node of another domain, whose parameters and their types stand in a table."""
    return [*_uses(node.inputs, inputs.items()), *_uses(node.outputs, outputs.items())]


def _uses(values: Sequence[ir.Value | None], parameters: Iterable[tuple[str, str]]) -> Iterator[Use]:
    """Values that are there, each with its parameter; the last parameter stands for all that follow."""
    formal = list(parameters)
    for index, value in enumerate(values):
        if value is not None and value.name and formal:
            yield Use(*formal[min(index, len(formal) - 1)], value)


def conflict(uses: Iterable[Use], mixed: Sequence[str] = ()) -> str | None:
    """Two values whose types must be equal and are not, in words; variables in `mixed` may have several types."""
    first: dict[str, Use] = {}
    for use in uses:
        other = first.setdefault(use.variable, use)
        if use.dtype != other.dtype and use.variable not in mixed:
            return f"has {other.dtype} at {other.parameter} and {use.dtype} at {use.parameter}, which must be equal"
    return None
