"""What one run of a graph costs: multiply-accumulates, nodes, parameters and bytes, counted on the graph itself.

    Conv, ConvInteger, QLinearConv      products of every output element: input channels of its group x kernel size
    ConvTranspose                       products of every input element: output channels of its group x kernel size
    Gemm, MatMul and their kin          products of every output element: the length of the axis that is summed

Products with the zeros of a padding count, as is usual; additions, comparisons and the neurons' own arithmetic do not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from tks_edge_export.errors import ExportError
from tks_edge_export.values import integer, static_shape


@dataclass(frozen=True)
class Cost:
    """What one run of a static graph costs, with the batch and the timesteps that it has.

    Attributes:
        nodes: how many there are.
        operators: how many of each operator, the most frequent first.
        parameters: numbers in the file, but for scalars and the integers of shapes; the scales of quantization count.
        macs: multiply-accumulates.
        weight_bytes: of all constants in the file.
        activation_bytes: of everything that is computed from the input, together, before an engine fuses any of it.
        peak_activation_bytes: the most of it that is alive at once, the input included, when the nodes run in their
            order and each result gets memory of its own.
    """

    nodes: int
    operators: dict[str, int]
    parameters: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    peak_activation_bytes: int


def cost(model: ir.Model) -> Cost:
    """Count the cost of `model`.

    Raises:
        ExportError: a value has no static shape or no element type.
    """
    nodes = list(model.graph)
    constants = [v.const_value for v in model.graph.initializers.values() if v.const_value is not None]
    activations = _activations(model.graph, nodes)
    return Cost(
        nodes=len(nodes),
        operators=dict(Counter(node.op_type for node in nodes).most_common()),
        parameters=sum(tensor.size for tensor in constants if tensor.shape and tensor.dtype != ir.DataType.INT64),
        macs=sum(node_macs(node) for node in nodes),
        weight_bytes=sum(tensor.nbytes for tensor in constants),
        activation_bytes=sum(activations[value] for node in nodes for value in node.outputs if value in activations),
        peak_activation_bytes=_peak(model.graph, nodes, activations),
    )


def _activations(graph: ir.Graph, nodes: list[ir.Node]) -> dict[ir.Value, int]:
    """The bytes of every value that depends on the input; a weight that is only decoded does not."""
    found = {value: _bytes(value) for value in graph.inputs}
    for node in nodes:
        if any(value in found for value in node.inputs if value is not None):
            found |= {value: _bytes(value) for value in node.outputs if value.name}
    return found


def multiplies(node: ir.Node) -> bool:
    """Whether the node is a convolution or a matrix product, whose multiply-accumulates count."""
    return node.op_type in _MULTIPLIERS


def node_macs(node: ir.Node) -> int:
    """The multiply-accumulates of one node, with the batch and the timesteps that it has; 0 for any other operator.

    Raises:
        ExportError: a value has no static shape.
    """
    count = _MULTIPLIERS.get(node.op_type)
    return 0 if count is None else count(node)


def _by_output(weight: int) -> Callable[[ir.Node], int]:
    """Of a convolution whose weight `[outputs, inputs a group, *kernel]` is input number `weight`."""
    return lambda node: math.prod(_shape(node.outputs[0])) * math.prod(_shape(node.inputs[weight])[1:])


def _by_input(node: ir.Node) -> int:
    """Of a transposed convolution, whose weight is `[inputs, outputs a group, *kernel]`."""
    return math.prod(_shape(node.inputs[0])) * math.prod(_shape(node.inputs[1])[1:])


def _product(node: ir.Node) -> int:
    """Of a matrix product `[..., rows, summed] x [..., summed, columns]`; `transA` says the first is transposed."""
    return math.prod(_shape(node.outputs[0])) * _shape(node.inputs[0])[-2 if integer(node, "transA") else -1]


_MULTIPLIERS: dict[str, Callable[[ir.Node], int]] = {
    "Conv": _by_output(1),
    "ConvInteger": _by_output(1),
    "ConvTranspose": _by_input,
    "DynamicQuantizeMatMul": _product,
    "FusedConv": _by_output(1),
    "FusedGemm": _product,
    "FusedMatMul": _product,
    "Gemm": _product,
    "MatMul": _product,
    "MatMulInteger": _product,
    "MatMulIntegerToFloat": _product,
    "QGemm": _product,
    "QLinearConv": _by_output(3),
    "QLinearMatMul": _product,
}


def _peak(graph: ir.Graph, nodes: list[ir.Node], activations: dict[ir.Value, int]) -> int:
    """The most bytes of activations that are alive at once."""
    last_use = {value: index for index, node in enumerate(nodes) for value in node.inputs if value in activations}
    last_use |= {value: len(nodes) for value in graph.outputs}
    alive = peak = sum(activations[value] for value in graph.inputs)
    for index, node in enumerate(nodes):
        made = [value for value in node.outputs if value in activations]
        alive += sum(activations[value] for value in made)
        peak = max(peak, alive)
        seen = {value for value in (*node.inputs, *made) if value in activations}
        alive -= sum(activations[value] for value in seen if last_use.get(value, index) == index)
    return peak


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    shape = static_shape(value)
    if shape is None:
        raise ExportError(
            f"the cost cannot be counted: {value.name if value is not None else 'an input'!r} has no static shape."
        )
    return shape


def _bytes(value: ir.Value) -> int:
    if value.dtype is None:
        raise ExportError(f"the cost cannot be counted: the element type of {value.name!r} is not known.")
    return math.ceil(math.prod(_shape(value)) * value.dtype.itemsize)
