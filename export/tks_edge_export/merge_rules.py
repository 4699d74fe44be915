"""For each operator, along which axis of its output T timesteps come out joined when its operands are joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from tks_edge_export.merging import Merging, Operands, Shape

Rule = Callable[[Operands], "Merging | str"]


def _mapped(operands: Operands, out: int, target: int | None = None) -> Merging:
    """Only the operands that come joined are joined, and every output is joined along `out`."""
    return Merging(operands.axes, (out,) * len(operands.outputs), target)


def _of_the_first(rule: Callable[[Operands, int, Shape], Merging | str]) -> Rule:
    """The rule where only the first operand changes over time: it is given the axis and the shape of that operand."""

    def checked(operands: Operands) -> Merging | str:
        axis, shape = operands.axes[0], operands.shapes[0]
        if operands.only_joined() != 0 or axis is None or shape is None:
            return "an operand other than the first changes over time"
        return rule(operands, axis, shape)

    return checked


def _first_operand(touched: Callable[[Operands], Iterable[int] | str], *, outputs: int | None = 1) -> Rule:
    """The rule of an operator that keeps the rank of its first operand, and mixes values along some axes of it.

    `touched` gives those axes; all other operands must be the same at every step. `outputs` is how many outputs the
    rule holds for; None for any number.
    """

    @_of_the_first
    def rule(operands: Operands, axis: int, _: Shape) -> Merging | str:
        if outputs is not None and len(operands.outputs) != outputs:
            return f"{operands.node.op_type} has {len(operands.outputs)} outputs"
        axes = touched(operands)
        if isinstance(axes, str):
            return axes
        if axis in {touch % operands.rank() for touch in axes}:
            return "it mixes values along the joined axis"
        return _mapped(operands, axis)

    return rule


def _after_batch(operands: Operands) -> Iterable[int]:
    return range(1, operands.rank())


def _channel(operands: Operands) -> Iterable[int] | str:
    return "it is in training mode" if operands.attribute("training_mode", 0) else (1,)


def _attribute_axis(default: int) -> Callable[[Operands], Iterable[int]]:
    return lambda operands: (operands.attribute("axis", default),)


def _normalized(operands: Operands) -> Iterable[int]:
    axis = operands.attribute("axis", -1) % operands.rank()
    scales = operands.rank() - max(operands.rank(index) for index in range(1, len(operands.shapes)))
    return range(min(axis, scales), operands.rank())


def _last_two(_: Operands) -> Iterable[int]:
    return (-1, -2)


def _operand_axis(operands: Operands) -> Iterable[int] | str:
    axes = operands.numbers(1)
    return "the axis is not a constant" if axes is None else map(int, axes)


def _sliced(operands: Operands) -> Iterable[int] | str:
    starts = operands.numbers(1)
    axes = operands.numbers(3) if operands.has(3) else list(range(len(starts or ())))
    return "the axes are not constants" if starts is None or axes is None else map(int, axes)


def _padded(operands: Operands) -> Iterable[int] | str:
    pads = operands.numbers(1)
    axes = operands.numbers(3) if operands.has(3) else list(range(operands.rank()))
    if pads is None or axes is None:
        return "the padding is not a constant"
    return [int(axis) for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False) if before or after]


def _tiled(operands: Operands) -> Iterable[int] | str:
    repeats = operands.numbers(1)
    return "the repeats are not constants" if repeats is None else [a for a, n in enumerate(repeats) if n != 1]


@_of_the_first
def _resize(operands: Operands, axis: int, shape: Shape) -> Merging | str:
    if operands.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return "it crops"
    if "axes" in operands.node.attributes:
        return "it names its axes"
    sizes = operands.has(3)
    if operands.output[axis] != shape[axis] or (not sizes and (operands.numbers(2) or [])[axis : axis + 1] != [1.0]):
        return "it resizes the joined axis"
    if sizes and operands.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "it keeps the aspect ratio"
    return _mapped(operands, axis, target=3 if sizes else None)


def _elementwise(operands: Operands) -> Merging | str:
    out = operands.joined_in_output()
    if out is None:
        return "its operands are joined along different axes"
    axes: list[int | None] = []
    for axis, shape in zip(operands.axes, operands.shapes, strict=True):
        own = out - len(operands.output) + len(shape or ())
        if shape is None or own < 0 or (axis is None and shape[own] == 1):
            axes.append(None)
        elif shape[own] == operands.output[out]:
            axes.append(own)
        else:
            return "an operand is broadcast along the joined axis"
    return Merging(tuple(axes), (out,))


def _concat(operands: Operands) -> Merging | str:
    axis = operands.joined_in_output()
    if axis is None:
        return "its operands are joined along different axes"
    if operands.attribute("axis", 0) % len(operands.output) == axis:
        return "it mixes values along the joined axis"
    return Merging((axis,) * len(operands.axes), (axis,))


def _reduction(axes_of: Callable[[Operands], Iterable[int] | str]) -> Rule:
    @_of_the_first
    def rule(operands: Operands, axis: int, _: Shape) -> Merging | str:
        axes = axes_of(operands)
        if isinstance(axes, str):
            return axes
        reduced = {each % operands.rank() for each in axes}
        if axis in reduced:
            return "it mixes values along the joined axis"
        gone = 0 if operands.attribute("keepdims", 1) else sum(each < axis for each in reduced)
        return _mapped(operands, axis - gone)

    return rule


def _reduced(operands: Operands) -> Iterable[int] | str:
    axes = operands.numbers(1)
    if axes is None and not operands.has(1):
        return () if operands.attribute("noop_with_empty_axes", 0) else range(operands.rank())
    if axes is None:
        return "the axes are not constants"
    return map(int, axes) if axes or operands.attribute("noop_with_empty_axes", 0) else range(operands.rank())


def _transpose(operands: Operands) -> Merging | str:
    axis = operands.axes[0]
    if "perm" in operands.node.attributes:
        perm = list(operands.node.attributes["perm"].as_ints())
    else:
        perm = list(reversed(range(operands.rank())))
    return "nothing changes over time" if axis is None else _mapped(operands, perm.index(axis))


@_of_the_first
def _reshape(operands: Operands, axis: int, shape: Shape) -> Merging | str:
    # In memory a timestep is cut into as many blocks as the axes before the joined one count, here and there.
    blocks = math.prod(shape[:axis])
    for out in range(len(operands.output)):
        if math.prod(operands.output[:out]) == blocks:
            return _mapped(operands, out)
    return "it takes the joined axis apart"


@_of_the_first
def _expand(operands: Operands, axis: int, shape: Shape) -> Merging | str:
    out = axis + len(operands.output) - len(shape)
    if operands.output[out] != shape[axis]:
        return "it broadcasts the joined axis"
    return _mapped(operands, out, target=1)


def _gather(operands: Operands) -> Merging | str:
    across = operands.attribute("axis", 0) % operands.rank(0)
    data, indices = operands.axes
    if data is not None and indices is not None:
        return "both operands change over time"
    if indices is not None:
        return _mapped(operands, across + indices)
    if data is None or data == across:
        return "it mixes values along the joined axis"
    return _mapped(operands, data if data < across else data - 1 + operands.rank(1))


@_of_the_first
def _gather_nd(operands: Operands, axis: int, _: Shape) -> Merging | str:
    indices = operands.shapes[1]
    if not indices:
        return "the indices have no axis, or no static shape"
    if operands.attribute("batch_dims", 0) or axis < indices[-1]:
        return "it mixes values along the joined axis"
    return _mapped(operands, axis - indices[-1] + len(indices) - 1)


@_of_the_first
def _gemm(operands: Operands, axis: int, _: Shape) -> Merging | str:
    rows = 1 if operands.attribute("transA", 0) else 0
    if axis != rows:
        return "it sums over the joined axis"
    bias = operands.shapes[2] if operands.has(2) else ()
    if bias is None or (len(bias) > 1 and bias[0] != 1):
        return "the bias has rows of its own"
    return _mapped(operands, 0)


def _matmul(operands: Operands) -> Merging | str:
    if any(shape is None or len(shape) < 2 for shape in operands.shapes):
        return "an operand is a vector"
    only, rank = operands.only_joined(), len(operands.output)
    if only is not None:
        from_end = (operands.axes[only] or 0) - operands.rank(only)
        free, summed = (-2, -1) if only == 0 else (-1, -2)
        if from_end == summed:
            return "it sums over the joined axis"
        if from_end == free:
            return _mapped(operands, rank + from_end)
    return _matmul_batch(operands)


def _matmul_batch(operands: Operands) -> Merging | str:
    """Joined along an axis before the last two, which both operands must have, or one of them broadcasts."""
    out, rank = operands.joined_in_output(), len(operands.output)
    if out is None or out >= rank - 2:
        return "its operands are joined along different axes"
    for shape, axis in zip(operands.shapes, operands.axes, strict=True):
        own = out - rank + len(shape or ())
        if axis is None and own >= 0 and shape is not None and shape[own] != 1:
            return "the weight has a batch of its own"
        if axis is not None and shape is not None and shape[own] != operands.output[out]:
            return "an operand is broadcast along the joined axis"
    return _mapped(operands, out)


def _einsum(operands: Operands) -> Merging | str:
    equation = operands.text("equation", "").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    if not arrow or "." in equation:
        return "the equation is not explicit"
    letters = terms.split(",")
    joined = {term[axis] for term, axis in zip(letters, operands.axes, strict=True) if axis is not None}
    if len(joined) != 1:
        return "its operands are joined along different axes"
    (letter,) = joined
    if letter not in result:
        return "it sums over the joined axis"
    if any(letter in term for term, axis in zip(letters, operands.axes, strict=True) if axis is None):
        return "the weight has a batch of its own"
    if any(term.count(letter) > 1 for term in letters):
        return "it takes a diagonal along the joined axis"
    return _mapped(operands, result.index(letter))


_ELEMENTWISE = (
    *(
        "Abs",
        "Add",
        "Ceil",
        "Div",
        "Floor",
        "Max",
        "Mean",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Reciprocal",
        "Round",
        "Sub",
        "Sum",
    ),
    *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Sign", "Where", "Xor"),
    *("Cos", "Erf", "Exp", "Log", "Pow", "Sin", "Sqrt", "Tan", "Tanh"),
    *("Celu", "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Sigmoid"),
    *("Softplus", "Softsign", "ThresholdedRelu", "Cast", "Identity", "IsInf", "IsNaN"),
)
_BATCHED = (
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"),
    *("Col2Im", "Conv", "ConvTranspose", "DepthToSpace", "InstanceNormalization", "LRN", "SpaceToDepth"),
)
_REDUCTIONS = tuple(f"Reduce{how}" for how in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum"))

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_BATCHED, _first_operand(_after_batch)),
    **dict.fromkeys(_REDUCTIONS, _reduction(_reduced)),
    **dict.fromkeys(("ArgMax", "ArgMin"), _reduction(_attribute_axis(0))),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"), _first_operand(_attribute_axis(-1))),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "BatchNormalization": _first_operand(_channel),
    "Concat": _concat,
    "CumSum": _first_operand(_operand_axis),
    "Einsum": _einsum,
    "Expand": _expand,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "LayerNormalization": _first_operand(_normalized),
    "MatMul": _matmul,
    "Pad": _first_operand(_padded),
    "Resize": _resize,
    "Slice": _first_operand(_sliced),
    "Split": _first_operand(_attribute_axis(0), outputs=None),
    "Tile": _first_operand(_tiled),
    "TopK": _first_operand(_attribute_axis(-1), outputs=2),
    "Transpose": _transpose,
    "Trilu": _first_operand(_last_two),
}
"""The rule of each operator of the default domain; an operator without one is repeated once a step."""
