"""Take the mean over the timesteps before the classifier and the pooling, not after them.

    mean_t(W x[t] + b) = W mean_t(x[t]) + b          mean_t(pool(x[t])) = pool(mean_t(x[t]))

The mean commutes with every linear operator that treats each sample by itself, so these run on N samples rather than
on T N. With T = 1 it is the value itself. Refused where the logits of every step are an output too, and where nothing
linear stands before the mean; a classifier whose input is rounded at every step is not linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from tks_edge_export.lif_steps import is_spikes
from tks_edge_export.quantization import INT8
from tks_edge_export.values import array_of, constant, integer, is_constant, static_shape

_POOLING = frozenset({"GlobalAveragePool", "AveragePool"})
_RESHAPES = frozenset({"Flatten", "Reshape"})


class FoldReadout(ir.passes.InPlacePass):
    """Move the mean over the timesteps towards the spikes."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the main graph of `model` in place."""
        readout = _find(model)
        if readout is None or refusal(model) is not None:
            return ir.passes.PassResult(model, modified=False)
        _move(model.graph, readout)
        return ir.passes.PassResult(model, modified=True)


@dataclass(frozen=True)
class _Readout:
    """The mean over the timesteps of `logits`, `[T * N, K]`, which `by_step` reshapes to `[T, N, K]`."""

    mean: ir.Node
    by_step: ir.Value
    logits: ir.Value

    @property
    def timesteps(self) -> int:
        return (static_shape(self.by_step) or (1, 1))[0]

    @property
    def batch(self) -> int:
        return (static_shape(self.by_step) or (1, 1))[1]


def refusal(model: ir.Model) -> str | None:
    """Why the mean stays where it is, or None when it can be moved."""
    readout = _find(model)
    if readout is None:
        return "the readout is no mean over the timesteps"
    if readout.by_step.is_graph_output():
        return "the logits of every step are an output too"
    if is_spikes(readout.logits.name):
        return "the logits are spikes, which keep their name"
    if readout.timesteps > 1 and not _linear_nodes(readout):
        return "nothing linear stands before the mean"
    return None


def _find(model: ir.Model) -> _Readout | None:
    mean = model.graph.outputs[0].producer()
    by_step = mean.inputs[0] if mean is not None and mean.op_type == "ReduceMean" else None
    reshape = by_step.producer() if by_step is not None else None
    logits = reshape.inputs[0] if reshape is not None and reshape.op_type == "Reshape" else None
    return None if mean is None or by_step is None or logits is None else _Readout(mean, by_step, logits)


def _linear_nodes(readout: _Readout) -> list[ir.Node]:
    """The linear nodes between the last nonlinear value and the logits, the last first."""
    found: list[ir.Node] = []
    node = readout.logits.producer()
    while node is not None and node.inputs[0] is not None and _is_linear(node, readout.timesteps * readout.batch):
        found.append(node)
        node = node.inputs[0].producer()
    # A reshape alone is not worth moving the mean for.
    while found and found[-1].op_type in _RESHAPES:
        found.pop()
    return found


def _is_linear(node: ir.Node, rows: int) -> bool:
    """Whether the node is linear up to a constant, treats `rows` samples alike, and is used by the next one alone."""
    value, output = node.inputs[0], node.outputs[0]
    before, after = static_shape(value), static_shape(output)
    if value is None or not before or not after or len(output.uses()) != 1 or output.is_graph_output():
        return False
    if before[0] != rows or after[0] != rows:
        return False
    if node.op_type in ("Gemm", "MatMul", "Add"):
        return not integer(node, "transA") and _weights_broadcast(node, len(after))
    if node.op_type in ("ReduceMean", "ReduceSum"):
        return _keeps_the_batch(node, len(before))
    widens = node.op_type == "Cast" and (value.dtype, output.dtype) == (ir.DataType.FLOAT16, ir.DataType.FLOAT)
    return widens or node.op_type in _POOLING or node.op_type in _RESHAPES


def _weights_broadcast(node: ir.Node, rank: int) -> bool:
    """Whether all operands but the first are constants, and what is added is the same for every sample."""
    weights = [weight for weight in node.inputs[1:] if weight is not None]
    if any(not is_constant(weight) or INT8 in weight.meta for weight in weights):
        return False
    added = static_shape(weights[-1]) if node.op_type == "Add" or len(weights) > 1 else ()
    return added is not None and (len(added) < rank or added[0] == 1)


def _keeps_the_batch(node: ir.Node, rank: int) -> bool:
    axes = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return axes is not None and axes.size > 0 and all(axis % rank for axis in axes.tolist())


def _move(graph: ir.Graph, readout: _Readout) -> None:
    old = readout.mean.outputs[0]
    if readout.timesteps == 1:
        graph.outputs[0], readout.logits.name = readout.logits, old.name
        old.name = f"{old.name}.mean"
        return
    linear = _linear_nodes(readout)
    new = _mean_over_time(graph, linear[-1].inputs[0], readout)
    for node in reversed(linear):
        shape = (readout.batch, *(static_shape(node.outputs[0]) or (0,))[1:])
        inputs = [new[-1].outputs[0], *node.inputs[1:]]
        if node.op_type == "Reshape":
            inputs[1] = _integers(graph, f"{node.name}.shape", shape)
        new.append(_node(node.op_type, inputs, shape, f"{node.name}.of_mean", tuple(node.attributes.values())))
        new[-1].outputs[0].type = node.outputs[0].type
    name, result = old.name, new[-1].outputs[0]
    ir.convenience.replace_nodes_and_values(graph, readout.mean, [readout.mean], new, [old], [result])
    result.name = name


def _mean_over_time(graph: ir.Graph, value: ir.Value | None, readout: _Readout) -> list[ir.Node]:
    """The mean over the steps of `value`, `[T * N, ...]`, as nodes."""
    if value is None:
        raise AssertionError("linear nodes have an input")
    rest = (static_shape(value) or (0,))[1:]
    shape = (readout.timesteps, readout.batch, *rest)
    split = _node(
        "Reshape", [value, _integers(graph, f"{value.name}.over_time", shape)], shape, f"{value.name}.by_step"
    )
    axes = _integers(graph, f"{value.name}.time_axis", [0])
    no_axis = (ir.AttrInt64("keepdims", 0),)
    return [split, _node("ReduceMean", [split.outputs[0], axes], (readout.batch, *rest), f"{value.name}.mean", no_axis)]


def _node(
    operator: str,
    inputs: Sequence[ir.Value | None],
    shape: Sequence[int],
    name: str,
    attributes: Sequence[ir.Attr] = (),
) -> ir.Node:
    node = ir.Node("", operator, inputs, attributes, name=name)
    first = inputs[0]
    node.outputs[0].name, node.outputs[0].shape = name, ir.Shape(shape)
    node.outputs[0].type = None if first is None else first.type
    return node


def _integers(graph: ir.Graph, name: str, numbers: Sequence[int]) -> ir.Value:
    value = constant(name, np.asarray(numbers, dtype=np.int64))
    graph.register_initializer(value)
    return value
