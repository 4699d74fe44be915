"""PyTorch's functions between the layers, as operators on one timestep.

Axes are counted as on one timestep, `[B, ...]`; a function that ran on a sequence, `[T, B, ...]` or `[B, T, ...]`, has
one more in front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.adoption.recording import Call, Value

_SAME = frozenset(
    {"contiguous", "clone", "detach", "to", "float", "data", "requires_grad_", "dropout", "alpha_dropout", "cpu"}
)
"""What gives its first operand as it is, in evaluation mode and in float32."""


@dataclass(frozen=True)
class Operation:
    """A function as an operator: on which values of the call, by position among them, and with which options."""

    operator: str
    operands: tuple[Value, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


class _UnknownError(Exception):
    """The function is not known, or not with these arguments."""


def operation(call: Call, shift: int) -> Operation | None:
    """Translate a call; None where it gives its operand as it is.

    Args:
        call: of a function.
        shift: how many axes a sample of the run has more in front than one of a timestep: 1 of a sequence.

    Raises:
        AdoptionError: there is no operator for it.
    """
    if call.target in _SAME:
        return None
    try:
        return _KNOWN[call.target](call, shift)
    except (KeyError, _UnknownError, IndexError, TypeError, ValueError) as error:
        raise AdoptionError(
            f"the module {call.inside!r} computes with {call.target!r}, which has no operator (as it is called there); "
            "see tks_edge_models.graph_operators for those there are. State that it keeps by itself cannot be taken "
            "over."
        ) from error


def same_value(call: Call) -> Value:
    """The operand that a call for which `operation` is None gives."""
    return call.inputs[0]


def _operands(call: Call) -> tuple[list[Value], list[float]]:
    """The values that depend on the input, and the numbers, of a call of two operands."""
    values, numbers = [], []
    for each in call.arguments[:2]:
        if isinstance(each, Value) and each.constant is not None:
            if each.constant.numel() != 1:
                raise _UnknownError
            numbers.append(float(each.constant))
        elif isinstance(each, Value):
            values.append(each)
        else:
            numbers.append(float(each))
    if call.options.get("alpha", 1) != 1 or call.options.get("rounding_mode") is not None:
        raise _UnknownError
    return values, numbers


def _sum(call: Call, _shift: int) -> Operation:
    values, numbers = _operands(call)
    return Operation("add", tuple(values)) if not numbers else _scaled(values, offset=numbers[0])


def _product(call: Call, _shift: int) -> Operation:
    values, numbers = _operands(call)
    return Operation("multiply", tuple(values)) if not numbers else _scaled(values, factor=numbers[0])


def _difference(call: Call, _shift: int) -> Operation:
    values, numbers = _operands(call)
    if not numbers:
        return Operation("subtract", tuple(values))
    if isinstance(call.arguments[0], Value) and call.arguments[0].constant is None:
        return _scaled(values, offset=-numbers[0])
    return _scaled(values, factor=-1.0, offset=numbers[0])


def _reverse_difference(call: Call, _shift: int) -> Operation:
    """`rsub(x, a)` is a - x."""
    values, numbers = _operands(call)
    if not numbers:
        return Operation("subtract", tuple(reversed(values)))
    return _scaled(values, factor=-1.0, offset=numbers[0])


def _quotient(call: Call, _shift: int) -> Operation:
    values, numbers = _operands(call)
    if len(values) != 1 or not isinstance(call.arguments[0], Value) or call.arguments[0].constant is not None:
        raise _UnknownError
    return Operation("divide", tuple(values), {"divisor": numbers[0]})


def _scaled(values: Sequence[Value], factor: float = 1.0, offset: float = 0.0) -> Operation:
    return Operation("scale", tuple(values), {"factor": factor, "offset": offset})


def _relu(call: Call, _shift: int) -> Operation:
    return Operation("relu", (call.inputs[0],))


def _argument(call: Call, position: int, name: str, default: Any = ...) -> Any:
    if name in call.options:
        return call.options[name]
    if position < len(call.arguments):
        return call.arguments[position]
    if default is ...:
        raise _UnknownError
    return default


def _axis(axis: int, rank: int, shift: int) -> int:
    """An axis of the run as one of a timestep; only axes behind the batch are."""
    counted = axis + rank if axis < 0 else axis
    if counted <= shift:
        raise _UnknownError
    return counted - shift


def _flatten(call: Call, shift: int) -> Operation:
    x = call.inputs[0]
    rank = len(x.shape)
    start = _axis(_argument(call, 1, "start_dim", 0), rank, shift)
    end = _axis(_argument(call, 2, "end_dim", -1), rank, shift)
    return Operation("flatten", (x,), {"start_dim": start, "end_dim": end})


def _reshape(call: Call, shift: int) -> Operation:
    """A reshape of each sample: all axes up to the batch stay."""
    x, shape = call.inputs[0], call.outputs[0].shape
    kept = shift + 1
    if shape[:kept] != x.shape[:kept]:
        raise _UnknownError
    return Operation("reshape", (x,), {"shape": list(shape[kept:])})


def _mean(call: Call, shift: int) -> Operation:
    x = call.inputs[0]
    dims = _argument(call, 1, "dim")
    axes = [_axis(axis, len(x.shape), shift) for axis in ([dims] if isinstance(dims, int) else dims)]
    return Operation("mean", (x,), {"dims": axes, "keepdim": bool(_argument(call, 2, "keepdim", False))})


def _concatenate(call: Call, shift: int) -> Operation:
    values = _argument(call, 0, "tensors")
    if any(value.constant is not None for value in values):
        raise _UnknownError
    dim = _axis(_argument(call, 1, "dim", 0), len(values[0].shape), shift)
    return Operation("concatenate", tuple(values), {"dim": dim})


def _pool(operator: str, *names: str) -> Callable[[Call, int], Operation]:
    def translate(call: Call, shift: int) -> Operation:
        if shift and len(call.inputs[0].shape) > 4:
            raise _UnknownError
        given = dict(zip(names, call.arguments[1:], strict=False)) | call.options
        if given.pop("return_indices", False) or given.keys() - set(names):
            raise _UnknownError
        stride = given.get("stride")
        if stride is None or stride == []:
            given.pop("stride", None)
        return Operation(operator, (call.inputs[0],), {name: _listed(value) for name, value in given.items()})

    return translate


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
_MAXIMUM = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_KNOWN: dict[str, Callable[[Call, int], Operation]] = {
    **dict.fromkeys(("add", "__add__", "__radd__", "__iadd__", "add_"), _sum),
    **dict.fromkeys(("mul", "__mul__", "__rmul__", "__imul__", "mul_", "multiply"), _product),
    **dict.fromkeys(("sub", "__sub__", "__isub__", "sub_"), _difference),
    **dict.fromkeys(("rsub", "__rsub__"), _reverse_difference),
    **dict.fromkeys(("div", "__truediv__", "true_divide", "div_", "__itruediv__", "__div__"), _quotient),
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("flatten",), _flatten),
    **dict.fromkeys(("reshape", "view", "unflatten", "squeeze", "unsqueeze"), _reshape),
    "mean": _mean,
    **dict.fromkeys(("cat", "concat"), _concatenate),
    "avg_pool2d": _pool("avg_pool2d", *_AVERAGE),
    "avg_pool1d": _pool("avg_pool1d", *_AVERAGE),
    **dict.fromkeys(("max_pool2d", "boolean_dispatch"), _pool("max_pool2d", *_MAXIMUM)),
    "max_pool1d": _pool("max_pool1d", *_MAXIMUM),
    "adaptive_avg_pool2d": _pool("adaptive_avg_pool2d", "output_size"),
}
