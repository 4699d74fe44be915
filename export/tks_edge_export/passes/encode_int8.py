"""Store rounded weights as int8, and hand spikes over as integers: Q/DQ with scales that change nothing.

    w = DequantizeLinear(q, 2^k)                                     w was rounded to 2^k q before
    x = DequantizeLinear(QuantizeLinear(x, s), s)                    x is a whole multiple of s within 8 bits

Both sides are equal, so the pass keeps every value as it is, and all users of x may read the right side; an engine that
finds a convolution behind the two runs it in integers. Where calibration says so, an input that is no such multiple is
rounded, and an output held as codes, as the network that the graph must equal has them too. Zero points are 0 but for
codes. Refused where the weight was not rounded, and where the input is neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from tks_edge_export.codes import Calibration, Code
from tks_edge_export.grid import Grid, grids
from tks_edge_export.quantization import BIAS_OF, INT8, Int8Weight, fits
from tks_edge_export.targets import Target
from tks_edge_export.values import Array, shared_constant

_CAST_BEHIND = frozenset({"MaxPool", "Cast"})
"""ONNX Runtime moves a QuantizeLinear before a pooling, which it then computes ten times as slowly in 8 bits."""


class EncodeInt8(ir.passes.InPlacePass):
    """Put Q/DQ around every layer whose weight was rounded.

    Args:
        target: whose type for spikes is used.
        calibration: of inputs and outputs that are rounded.
    """

    def __init__(self, target: Target, calibration: Calibration) -> None:
        super().__init__()
        self._target = target
        self._calibration = calibration

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        known = grids(model.graph)
        layers = [node for node in model.graph if refusal(node, known, self._target.spikes, self._calibration) is None]
        encoder = _Encoder(model.graph, known, self._target, self._calibration)
        for node in layers:
            encoder.encode(node)
        return ir.passes.PassResult(model, modified=bool(layers))


class _Encoder:
    """Encodes the layers of one graph, each of their values once."""

    def __init__(
        self, graph: ir.Graph, known: Mapping[ir.Value, Grid], target: Target, calibration: Calibration
    ) -> None:
        self._graph = graph
        self._known = known
        self._target = target
        self._calibration = calibration
        self._exact: set[ir.Value] = set()
        self._made: dict[str, ir.Value] = {}

    def encode(self, node: ir.Node) -> None:
        value, weight = node.inputs[0], node.inputs[1]
        if value is None or weight is None:
            raise AssertionError("refusal() lets only layers with an input and a weight pass")
        rounded: Int8Weight = weight.meta[INT8]
        node.replace_input_with(1, self._decoded(node, weight, rounded.codes, rounded.scale, rounded.axis))
        if rounded.path in self._calibration.inputs:
            code = self._calibration.inputs[rounded.path]
            node.replace_input_with(0, self._round_trip(value, code, f"{value.name}.rounded.{rounded.path}"))
        elif value not in self._exact:
            self._exact.add(self._handed_over(value))
        if rounded.bias is not None and node.inputs[2] is not None:
            node.replace_input_with(2, self._decoded(node, node.inputs[2], rounded.bias, rounded.unit, 0))
        if rounded.path in self._calibration.currents:
            output = _behind_relu(_output(node, rounded.path))
            self._read_instead(output, self._calibration.currents[rounded.path], f"{output.name}.coded")

    def _handed_over(self, value: ir.Value) -> ir.Value:
        """Let every user of `value` read it through 8 bits, unless it comes out of these already."""
        producer = value.producer()
        if producer is None:
            raise AssertionError("refusal() lets only values on a grid pass, which nodes give")
        if producer.op_type == "DequantizeLinear":
            return value
        if producer.op_type == "MaxPool" and producer.inputs[0] is not None and self._target.pools_codes:
            self._handed_over(producer.inputs[0])
        code = Code(float(self._known[value].step), 0, signed=self._target.spikes == "int8")
        by_cast = self._target.codes_currents and code.scale == 1.0 and producer.op_type in _CAST_BEHIND
        return self._read_instead(value, code, f"{value.name}.exact", by_cast=by_cast)

    def _read_instead(self, value: ir.Value, code: Code, name: str, *, by_cast: bool = False) -> ir.Value:
        """Let every user of `value` read it through Q/DQ."""
        users = [(use.node, use.idx) for use in value.uses()]
        result = self._round_trip(value, code, name, by_cast=by_cast)
        for user, index in users:
            user.replace_input_with(index, result)
        return result

    def _round_trip(self, value: ir.Value, code: Code, name: str, *, by_cast: bool = False) -> ir.Value:
        """Append Q/DQ right behind `value`; a cast does for Q where the values are whole numbers."""
        if name in self._made:
            return self._made[name]
        step = shared_constant(self._graph, f"step.{code.scale!r}", np.asarray(code.scale, np.float32))
        point = shared_constant(self._graph, f"zero.{code.dtype}.{code.zero}", np.asarray(code.zero, code.dtype))
        quantize = ir.Node("", "QuantizeLinear", [value, step, point], name=f"{name}.codes")
        if by_cast:
            to = [ir.AttrInt64("to", ir.DataType.from_numpy(np.dtype(code.dtype)))]
            quantize = ir.Node("", "Cast", [value], to, name=f"{name}.codes")
        codes = _typed(quantize.outputs[0], f"{name}.codes", value.shape, point.type)
        dequantize = ir.Node("", "DequantizeLinear", [codes, step, point], name=name)
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph.node(0), [quantize, dequantize])
        else:
            self._graph.insert_after(producer, [quantize, dequantize])
        self._made[name] = _typed(dequantize.outputs[0], name, value.shape, value.type)
        return self._made[name]

    def _decoded(self, before: ir.Node, value: ir.Value, codes: Array, scale: Array, axis: int) -> ir.Value:
        """The constant `value` as a product of whole numbers and scales; `before` is the first of its users."""
        name = f"{value.name}.decoded"
        if name in self._made:
            return self._made[name]
        inputs = [
            shared_constant(self._graph, f"{value.name}.codes", codes),
            shared_constant(self._graph, f"{value.name}.scale", scale),
            shared_constant(self._graph, f"{value.name}.zero", np.zeros(len(scale), codes.dtype)),
        ]
        node = ir.Node("", "DequantizeLinear", inputs, [ir.AttrInt64("axis", axis)], name=name)
        self._graph.insert_before(before, node)
        self._made[name] = _typed(node.outputs[0], name, value.shape, value.type)
        return self._made[name]


def _output(node: ir.Node, path: str) -> ir.Value:
    """What the layer at `path` gives, its bias added: that of a matrix product stands in an addition behind it."""
    users = [use.node for use in node.outputs[0].uses()]
    adds_bias = [user.op_type for user in users] == ["Add"] and any(
        value is not None and value.meta.get(BIAS_OF) == path for value in users[0].inputs
    )
    return users[0].outputs[0] if adds_bias and node.op_type == "MatMul" else node.outputs[0]


def _behind_relu(value: ir.Value) -> ir.Value:
    """The output of the ReLU, where nothing but one reads the value."""
    users = [use.node for use in value.uses()]
    return users[0].outputs[0] if [user.op_type for user in users] == ["Relu"] else value


def refusal(node: ir.Node, known: Mapping[ir.Value, Grid], dtype: str, calibration: Calibration) -> str | None:
    """Why the layer stays in float, or None when it becomes one of integers."""
    if len(node.inputs) < 2 or node.inputs[0] is None or node.inputs[1] is None or INT8 not in node.inputs[1].meta:
        return "its weight was not rounded"
    if node.inputs[1].meta[INT8].path in calibration.inputs:
        return None
    grid = known.get(node.inputs[0])
    if grid is None:
        return "its input is no whole multiple of a step"
    return None if fits(grid, dtype) else "its input overflows 8 bits"


def _typed(value: ir.Value, name: str, shape: ir.Shape | None, dtype: ir.TypeProtocol | None) -> ir.Value:
    value.name, value.shape, value.type = name, shape, dtype
    return value
