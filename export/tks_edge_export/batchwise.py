"""Which operators treat every sample of a batch alike, so that T timesteps may run as one batch of `T * N` samples.

f(concat(x[1], ..., x[T])) = concat(f(x[1]), ..., f(x[T]))          along axis 0, for weights that are constants
"""

from __future__ import annotations

import onnx_ir as ir

from tks_edge_export.values import static_shape

_SAMPLES = frozenset({"Conv", "ConvTranspose", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"})
_ELEMENTWISE = frozenset(
    {"Abs", "Add", "Cast", "Div", "Erf", "Identity", "Max", "Min", "Mul", "Neg", "Relu", "Sigmoid", "Sub", "Tanh"}
)


def refusal(node: ir.Node) -> str | None:
    """Why T timesteps of `node` cannot run as one batch, or None when they can."""
    if node.domain != "" or len(node.outputs) != 1:
        return f"nothing is known about {node.op_type}"
    shapes = [None if is_constant(value) else static_shape(value) for value in node.inputs]
    batch, output = shapes[0] if shapes else None, static_shape(node.outputs[0])
    if not batch or not output or batch[0] != output[0]:
        return "axis 0 is not the batch on both sides"
    if node.op_type in _SAMPLES:
        return None
    if node.op_type in _ELEMENTWISE:
        return None if all(_aligned(value, output) for value in node.inputs) else "an operand has its own axis 0"
    checks = {"Gemm": _gemm, "MatMul": _matmul, "ReduceMean": _reduction, "Reshape": _reshape, "Flatten": _flatten}
    return checks[node.op_type](node) if node.op_type in checks else f"nothing is known about {node.op_type}"


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is a weight or another constant, the same at every timestep and for every sample."""
    return value is None or ir.convenience.get_const_tensor(value) is not None


def _aligned(value: ir.Value | None, output: tuple[int, ...]) -> bool:
    """Whether an operand is the batch itself, or a constant that broadcasts over its samples."""
    shape = static_shape(value)
    if value is None or shape is None:
        return False
    if is_constant(value):
        return len(shape) < len(output) or shape[0] == 1
    return len(shape) == len(output) and shape[0] == output[0]


def _gemm(node: ir.Node) -> str | None:
    if "transA" in node.attributes and node.attributes["transA"].as_int():
        return "the batch is transposed"
    bias = static_shape(node.inputs[2]) if len(node.inputs) > 2 else ()
    if not is_constant(node.inputs[1]) or (bias and len(bias) > 1 and bias[0] != 1):
        return "a weight is not a constant"
    return None


def _matmul(node: ir.Node) -> str | None:
    if not is_constant(node.inputs[1]):
        return "both operands vary"
    weight = static_shape(node.inputs[1])
    return None if weight is not None and len(weight) <= 2 else "the weight has a batch of its own"


def _reduction(node: ir.Node) -> str | None:
    axes = ir.convenience.get_const_tensor(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    shape = static_shape(node.inputs[0])
    if axes is None or shape is None:
        return "the axes are not constants"
    return "it reduces the batch" if any(axis % len(shape) == 0 for axis in axes.numpy().tolist()) else None


def _reshape(node: ir.Node) -> str | None:
    # Equal first axes (checked before) make it a reshape of each sample by itself.
    return None if is_constant(node.inputs[1]) else "the shape is not a constant"


def _flatten(node: ir.Node) -> str | None:
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    return None if axis == 1 else "it flattens the batch"
