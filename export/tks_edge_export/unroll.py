"""One captured timestep, laid out at T: a static graph without loops, each weight stored once.

What does not depend on a LIF layer is the same at every step of a still image and stays single; the rest is repeated
once a step, in the order of the layers, so that a weight is still in the cache when the next step needs it. Repetition
is right for every operator; it asks nothing of the batch axis. The readout is the mean of the T logit vectors.
"""

from __future__ import annotations

import onnx_ir as ir
from torch import Tensor, nn

from tks_edge_export.capture import OPSET, PATH, Capture, capture, is_lif
from tks_edge_export.errors import ExportError
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_steps import Steps, emit_lif
from tks_edge_export.passes import CLEAN_UP, ONE_STEP, apply
from tks_edge_export.passes.reshape_chain import static_shape
from tks_edge_runtime.artifact import MAX_TIMESTEPS

INPUT, LOGITS, LOGITS_PER_STEP = "input", "logits", "logits_per_step"
_IR_VERSION = 10


def export_graph(
    module: nn.Module, example: Tensor, timesteps: int, *, per_step: bool = False
) -> tuple[ir.Model, tuple[str, ...]]:
    """Capture `module` and unroll it.

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
    if not 1 <= timesteps <= MAX_TIMESTEPS:
        raise ExportError(f"timesteps is {timesteps}; a static graph is made for 1 to {MAX_TIMESTEPS}.")
    captured = capture(module, example)
    if not captured.neurons and timesteps != 1:
        raise ExportError(
            f"timesteps is {timesteps}, but the network has no LIF layer: it runs one pass. Use --timesteps 1."
        )
    applied = apply(captured.model, ONE_STEP)
    model = unroll(captured, timesteps, per_step=per_step)
    return model, (*applied, "unroll", *apply(model, CLEAN_UP))


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
    values: dict[ir.Value, Steps] = {old_input: [new_input] * timesteps}
    for node in source:
        if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
            raise ExportError(
                f"operator {node.op_type} ({node.name}) branches or loops on data; a static graph cannot."
            )
        for value in node.inputs:
            if value is not None and value not in values:
                values[value] = [builder.weight(value)] * timesteps
        if is_lif(node) and node.inputs[0] is not None:
            path = node.attributes[PATH].as_string()
            values[node.outputs[0]] = emit_lif(builder, path, values[node.inputs[0]], captured.neurons[path])
        else:
            _repeat(builder, values, node, timesteps)
    outputs = _readout(builder, values[source.outputs[0]], per_step=per_step)
    return ir.Model(builder.graph([new_input], outputs, "tks_edge"), ir_version=_IR_VERSION)


def _repeat(builder: GraphBuilder, values: dict[ir.Value, Steps], node: ir.Node, timesteps: int) -> None:
    """Append `node` once where its inputs are the same at every step, else once a step."""
    inputs = [[None] * timesteps if value is None else values[value] for value in node.inputs]
    still = all(step is steps[0] for steps in inputs for step in steps)
    copies = [
        builder.copy(node, [steps[t] for steps in inputs], "" if still else f".t{t}")
        for t in range(1 if still else timesteps)
    ]
    for index, old in enumerate(node.outputs):
        values[old] = [outputs[index] for outputs in copies] * (timesteps if still else 1)


def _readout(builder: GraphBuilder, logits: Steps, *, per_step: bool) -> list[ir.Value]:
    """The mean over the steps as `logits` `[N, K]`, and the steps themselves where asked for."""
    shape = static_shape(logits[0])
    if shape is None or len(shape) < 2 or any(size != 1 for size in shape[:-2]):
        raise ExportError(f"the network's output has shape {shape}; logits [N, K] of one timestep are needed.")
    batch = shape[-2:]
    flat = [
        builder.shaped("Reshape", [step, builder.integers(batch)], f"logits.t{t}", batch)
        for t, step in enumerate(logits)
    ]
    outputs = [builder.shaped("Mean", flat, LOGITS, batch)]
    if per_step:
        lead = [
            builder.shaped("Reshape", [step, builder.integers((1, *batch))], f"logits.lead.t{t}", (1, *batch))
            for t, step in enumerate(flat)
        ]
        outputs.append(builder.shaped("Concat", lead, LOGITS_PER_STEP, (len(lead), *batch), [ir.AttrInt64("axis", 0)]))
    return outputs
