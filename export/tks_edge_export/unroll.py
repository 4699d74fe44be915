"""One captured timestep, laid out at T: a static graph without loops, each weight stored once.

What does not depend on a LIF layer is the same at every step of a still image and stays single. Of the rest, an
operator that treats every sample alike runs once, with T merged into the batch axis; any other is repeated once a step.
The readout is the mean of the T logit vectors.
"""

from __future__ import annotations

import onnx_ir as ir
from torch import Tensor, nn

from tks_edge_export import batchwise
from tks_edge_export.batchwise import is_constant
from tks_edge_export.capture import OPSET, PATH, Capture, capture, is_lif
from tks_edge_export.errors import ExportError
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_steps import emit_lif
from tks_edge_export.over_time import OverTime, merged_shape
from tks_edge_export.passes import CLEAN_UP, ONE_STEP, apply
from tks_edge_export.passes.reshape_chain import chain_origin
from tks_edge_export.values import static_shape
from tks_edge_runtime.artifact import MAX_TIMESTEPS

INPUT, LOGITS, LOGITS_PER_STEP = "input", "logits", "logits_per_step"
_IR_VERSION = 10


def export_graph(
    module: nn.Module, example: Tensor, timesteps: int, *, per_step: bool = False
) -> tuple[ir.Model, tuple[str, ...]]:
    """Capture `module` and unroll it; `OneStep` captures once for several T.

    Args:
        module: a network built of LIF layers and stateless ones, from `[N, ...]` to logits `[N, K]` or `[1, N, K]`.
        example: one batch of still images, in the dtype that the device will feed.
        timesteps: T, 1 to `MAX_TIMESTEPS`.
        per_step: whether the graph also gives `logits_per_step`, `[T, N, K]`.

    Returns:
        The graph (`input` to `logits` `[N, K]`), and the names of the passes that were applied.

    Raises:
        ExportError: the module cannot be captured, or T is out of range.
    """
    _check_timesteps(timesteps)
    return OneStep(module, example).at(timesteps, per_step=per_step)


class OneStep:
    """One captured timestep of a network, its passes applied, to be unrolled at any number of T.

    Args:
        module: as for `export_graph`.
        example: as for `export_graph`.

    Raises:
        ExportError: the module cannot be captured.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self._captured = capture(module, example)
        self._passes = apply(self._captured.model, ONE_STEP)

    def at(self, timesteps: int, *, per_step: bool = False) -> tuple[ir.Model, tuple[str, ...]]:
        """Unroll at T; arguments, result and errors are those of `export_graph`."""
        _check_timesteps(timesteps)
        if not self._captured.neurons and timesteps != 1:
            raise ExportError(
                f"timesteps is {timesteps}, but the network has no LIF layer: it runs one pass. Use --timesteps 1."
            )
        model = unroll(self._captured, timesteps, per_step=per_step)
        return model, (*self._passes, "unroll", *apply(model, CLEAN_UP))


def _check_timesteps(timesteps: int) -> None:
    if not 1 <= timesteps <= MAX_TIMESTEPS:
        raise ExportError(f"timesteps is {timesteps}; a static graph is made for 1 to {MAX_TIMESTEPS}.")


def unroll(captured: Capture, timesteps: int, *, per_step: bool = False) -> ir.Model:
    """Lay out one captured timestep at T; see the module's docstring."""
    builder = GraphBuilder(OPSET)
    source = captured.model.graph
    if len(source.inputs) != 1 or len(source.outputs) != 1:
        raise ExportError(
            f"the network has {len(source.inputs)} inputs and {len(source.outputs)} outputs; one of each is needed."
        )
    (old_input,) = source.inputs
    new_input = ir.Value(name=INPUT, shape=old_input.shape, type=old_input.type)
    values = {old_input: OverTime.of_still(builder, timesteps, new_input)}
    for node in source:
        if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
            raise ExportError(
                f"operator {node.op_type} ({node.name}) branches or loops on data; a static graph cannot."
            )
        for value in node.inputs:
            if value is not None and value not in values:
                values[value] = OverTime.of_still(builder, timesteps, builder.weight(value))
        if is_lif(node) and node.inputs[0] is not None:
            path = node.attributes[PATH].as_string()
            values[node.outputs[0]] = emit_lif(builder, path, values[node.inputs[0]], captured.neurons[path])
        else:
            values |= _laid_out(builder, values, node, timesteps)
    outputs = _readout(builder, values, source.outputs[0], timesteps, per_step=per_step)
    return ir.Model(builder.graph([new_input], outputs, "tks_edge"), ir_version=_IR_VERSION)


def _laid_out(
    builder: GraphBuilder, values: dict[ir.Value, OverTime], node: ir.Node, timesteps: int
) -> dict[ir.Value, OverTime]:
    """Append `node` for all timesteps: once where nothing changes, as one batch where it may, else once a step."""
    inputs = [None if value is None else values[value] for value in node.inputs]
    if all(value is None or value.still is not None for value in inputs):
        copies = builder.copy(node, [None if value is None else value.still for value in inputs], "")
        return {old: OverTime.of_still(builder, timesteps, new) for old, new in zip(node.outputs, copies, strict=True)}
    if batchwise.refusal(node) is None:
        return {node.outputs[0]: OverTime.of_merged(builder, timesteps, _batched(builder, values, node, timesteps))}
    steps = [
        builder.copy(node, [None if value is None else value.steps()[t] for value in inputs], f".t{t}")
        for t in range(timesteps)
    ]
    return {
        old: OverTime.of_steps(builder, [outputs[index] for outputs in steps], str(old.name))
        for index, old in enumerate(node.outputs)
    }


def _batched(builder: GraphBuilder, values: dict[ir.Value, OverTime], node: ir.Node, timesteps: int) -> ir.Value:
    """Append `node` once, on T times the batch; the caller has asked `batchwise.refusal`."""
    shape = merged_shape(node.outputs[0], timesteps)
    inputs = [
        None if value is None else values[value].still if is_constant(value) else values[value].merged()
        for value in node.inputs
    ]
    if node.op_type == "Reshape":
        inputs[1] = builder.integers(shape)
    (output,) = builder.copy(node, inputs, "")
    output.shape = ir.Shape(shape)
    return output


def _readout(
    builder: GraphBuilder, values: dict[ir.Value, OverTime], output: ir.Value, timesteps: int, *, per_step: bool
) -> list[ir.Value]:
    """The mean over the steps as `logits` `[N, K]`, and the steps themselves where asked for."""
    shape = static_shape(output)
    if shape is None or len(shape) < 2 or any(size != 1 for size in shape[:-2]):
        raise ExportError(f"the network's output has shape {shape}; logits [N, K] of one timestep are needed.")
    batch, classes = shape[-2:]
    flat = values[chain_origin(output)].merged()
    steps = builder.shaped(
        "Reshape", [flat, builder.integers((timesteps, batch, classes))], LOGITS_PER_STEP, (timesteps, batch, classes)
    )
    no_axis = [ir.AttrInt64("keepdims", 0)]
    logits = builder.shaped("ReduceMean", [steps, builder.integers([0])], LOGITS, (batch, classes), no_axis)
    return [logits, steps] if per_step else [logits]
