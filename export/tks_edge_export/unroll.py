"""One captured timestep, laid out at T, or as one step: a static graph without loops, each weight stored once.

What does not depend on a LIF layer is the same at every step of a still image and stays single. Of the rest, an
operator that treats the slices of an axis alike, above all those of the batch, runs once, with T merged into that axis;
any other is repeated once a step.
The readout is the mean of the T logit vectors. A step graph is the layout at T = 1 with the state of every LIF layer as
an input and an output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from tks_edge_export.batchwise import append_merged, merging
from tks_edge_export.capture import PATH, Capture, is_lif
from tks_edge_export.codes import Code
from tks_edge_export.errors import ExportError
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_codes import emit_coded_lif
from tks_edge_export.lif_steps import NEXT_STATE, emit_lif, state_name
from tks_edge_export.merging import Merging
from tks_edge_export.options import Options
from tks_edge_export.over_time import OverTime
from tks_edge_export.passes.reshape_chain import chain_origin
from tks_edge_export.targets import IR_VERSION, OPSET
from tks_edge_export.traced_neuron import emit_traced, state_names
from tks_edge_export.values import is_constant, static_shape

INPUT, LOGITS, LOGITS_PER_STEP = "input", "logits", "logits_per_step"


def unroll(captured: Capture, options: Options, codes: Mapping[str, Code] | None = None) -> ir.Model:
    """Lay out one captured timestep at T, or as one step with its states; see the module's docstring.

    Args:
        captured: the timestep.
        options: what is asked for.
        codes: of the membranes that are held in 8 bits, by the module path of their LIF layer.

    Raises:
        ExportError: the network has several inputs or outputs, gives its input itself, or branches on data.
    """
    source = captured.model.graph
    if len(source.inputs) != 1 or len(source.outputs) != 1:
        raise ExportError(
            f"the network has {len(source.inputs)} inputs and {len(source.outputs)} outputs; one of each is needed."
        )
    if source.outputs[0] in source.inputs:
        raise ExportError("the network gives its input as it is; logits [N, K] that it computes are needed.")
    return _Layout(captured, options, codes or {}).model()


def logits_shape(graph: ir.Graph) -> tuple[int, int]:
    """N and K of the logits that one captured timestep gives.

    Raises:
        ExportError: it gives something else than `[N, K]` or `[1, N, K]` for a batch of N.
    """
    batch, shape = (static_shape(graph.inputs[0]) or (0,))[0], static_shape(graph.outputs[0])
    if shape is None or len(shape) < 2 or any(size != 1 for size in shape[:-2]) or shape[-2] != batch:
        got = "no static shape" if shape is None else f"shape {list(shape)}"
        raise ExportError(
            f"the network's output has {got} for a batch of {batch}; logits [N, K] of one timestep are needed."
        )
    return shape[-2], shape[-1]


class _Layout:
    """A graph in the making: every value of the captured timestep with what stands for it over time."""

    def __init__(self, captured: Capture, options: Options, codes: Mapping[str, Code]) -> None:
        self._source = captured.model.graph
        self._neurons = captured.neurons
        self._thresholds = captured.thresholds
        self._traced = captured.traced
        self._options = options
        self._codes = codes
        self._timesteps = options.timesteps if options.form == "static" else 1
        self._builder = GraphBuilder(OPSET)
        self._values: dict[ir.Value, OverTime] = {}
        self._inputs: list[ir.Value] = []
        self._states: list[ir.Value] = []
        self._done: set[ir.Node] = set()

    def model(self) -> ir.Model:
        """Lay out every node in turn."""
        self._input()
        for node in self._source:
            if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
                raise ExportError(
                    f"operator {node.op_type} ({node.name}) branches or loops on data; a static graph cannot."
                )
            for value in node.inputs:
                if value is not None and value not in self._values:
                    self._values[value] = self._still(self._builder.weight(value))
            if is_lif(node):
                self._neuron(node)
            elif node not in self._done:
                self._node(node)
        outputs = self._readout()
        graph = self._builder.graph(self._inputs, [*outputs, *self._states], "tks_edge")
        return ir.Model(graph, ir_version=IR_VERSION)

    def _still(self, value: ir.Value) -> OverTime:
        """A value that is the same at every step; where `share_still` is skipped, one a step of what is computed."""
        if "share_still" in self._options.skip and value.producer() is not None and not is_constant(value):
            return OverTime.of_steps(self._builder, [value] * self._timesteps, str(value.name))
        return OverTime.of_still(self._builder, self._timesteps, value)

    def _input(self) -> None:
        (old,) = self._source.inputs
        shape = static_shape(old)
        if shape is None:
            raise ExportError("the network's input has no static shape; export with images of one size.")
        if not self._options.frames or self._options.form == "step":
            self._inputs.append(ir.Value(name=INPUT, shape=old.shape, type=old.type))
            self._values[old] = OverTime.of_still(self._builder, self._timesteps, self._inputs[0])
            return
        self._inputs.append(
            ir.Value(name=INPUT, shape=ir.Shape((shape[0], self._timesteps, *shape[1:])), type=old.type)
        )
        casts = _casts_alike(old)
        if casts:
            # Before the frames are moved: TensorRT takes an input of uint8 and does nothing with it but cast it.
            dtype = ir.DataType(casts[0].attributes["to"].as_int())
            merged = self._by_step(self._builder.cast(self._inputs[0], dtype, f"{INPUT}.cast"), shape)
            self._values |= {cast.outputs[0]: merged for cast in casts}
            self._done |= set(casts)
        else:
            self._values[old] = self._by_step(self._inputs[0], shape)

    def _by_step(self, frames: ir.Value, shape: tuple[int, ...]) -> OverTime:
        """The frames `[N, T, ...]` with T merged into the batch; `shape` is that of one step, `[N, ...]`."""
        batch, *rest = shape
        if 1 not in (batch, self._timesteps):
            order = [1, 0, *range(2, len(shape) + 1)]
            by_step = (self._timesteps, batch, *rest)
            frames = self._builder.shaped(
                "Transpose", [frames], f"{INPUT}.by_step", by_step, [ir.AttrInt64s("perm", order)]
            )
        merged = (self._timesteps * batch, *rest)
        flat = self._builder.shaped("Reshape", [frames, self._builder.integers(merged)], f"{INPUT}.merged", merged)
        return OverTime.of_merged(self._builder, self._timesteps, flat)

    def _neuron(self, node: ir.Node) -> None:
        path, (current,) = node.attributes[PATH].as_string(), node.inputs
        if current is None:
            raise ExportError(f"the LIF layer {path!r} has no input; this is a fault in tks-edge.")
        if path in self._traced:
            self._values[node.outputs[0]] = self._traced_neuron(path, current)
            return
        code, state = self._codes.get(path), None
        membrane_type = ir.DataType.FLOAT16 if self._options.membrane == "fp16" else ir.DataType.FLOAT
        if self._options.form == "step":
            state = self._state(state_name(path), current, membrane_type if code is None else ir.DataType.UINT8)
        values, params = self._values[current], self._neurons[path]
        if code is None:
            spikes, membrane = emit_lif(
                self._builder,
                path,
                values,
                params,
                membrane=membrane_type,
                state=state,
                thresholds=self._thresholds.get(path),
            )
        else:
            spikes, membrane = emit_coded_lif(self._builder, path, values, params, code, state)
        self._values[node.outputs[0]] = spikes
        if state is not None:
            self._next_state(state, membrane)

    def _traced_neuron(self, path: str, current: ir.Value) -> OverTime:
        values, states = self._values[current], None
        traced = self._traced[path].at(static_shape(values.steps()[0]) or ())
        if self._options.form == "step":
            self._traced[path].check_step_form(traced)
            names = state_names(path, len(traced.rest))
            states = [self._state(name, current, ir.DataType.FLOAT) for name in names]
        spikes, after = emit_traced(self._builder, path, values, traced, states)
        for state, value in zip(states or (), after, strict=False):
            self._next_state(state, value)
        return spikes

    def _state(self, name: str, current: ir.Value, dtype: ir.DataType) -> ir.Value:
        """An input that holds a state of the shape of one step's current."""
        state = ir.Value(name=name, shape=current.shape, type=ir.TensorType(dtype))
        self._inputs.append(state)
        return state

    def _next_state(self, state: ir.Value, value: ir.Value) -> None:
        """Make `value` the output that becomes `state` in the next step."""
        if value in self._inputs or value in self._states:
            value = self._builder.add("Identity", [value], "")  # One that only hands on what it got, or gives it twice.
        value.name = f"{state.name}{NEXT_STATE}"
        self._states.append(value)

    def _node(self, node: ir.Node) -> None:
        """Append a node for all timesteps: once where nothing changes, as one node where it may, else once a step."""
        inputs = [None if value is None else self._values[value] for value in node.inputs]
        if all(value is None or value.still is not None for value in inputs):
            copies = self._builder.copy(node, [None if value is None else value.still for value in inputs], "")
            self._values |= {old: self._still(new) for old, new in zip(node.outputs, copies, strict=True)}
        elif (merged := self._merging(node, inputs)) is not None:
            self._values |= append_merged(self._builder, node, inputs, self._timesteps, merged)
        else:
            steps = [
                self._builder.copy(node, [None if value is None else value.steps()[t] for value in inputs], f".t{t}")
                for t in range(self._timesteps)
            ]
            for index, old in enumerate(node.outputs):
                values = [outputs[index] for outputs in steps]
                self._values[old] = OverTime.of_steps(self._builder, values, str(old.name))

    def _merging(self, node: ir.Node, inputs: Sequence[OverTime | None]) -> Merging | None:
        """How T timesteps run as one node: on operands as they are merged already, or else along the batch."""
        if "merge_time" in self._options.skip:
            return None
        as_they_are = [value.axis if value is not None and value.still is None else None for value in inputs]
        along_batch = [None if axis is None else 0 for axis in as_they_are]
        found = (merging(node, axes) for axes in (as_they_are, along_batch))
        return next((merged for merged in found if isinstance(merged, Merging)), None)

    def _readout(self) -> list[ir.Value]:
        """The mean over the steps as `logits` `[N, K]`, and the steps themselves where asked for."""
        output = self._source.outputs[0]
        batch, classes = logits_shape(self._source)
        by_step = (self._timesteps, batch, classes)
        flat = self._values[chain_origin(output)].merged()
        steps = self._builder.shaped("Reshape", [flat, self._builder.integers(by_step)], LOGITS_PER_STEP, by_step)
        no_axis = [ir.AttrInt64("keepdims", 0)]
        mean = [steps, self._builder.integers([0])]
        logits = self._builder.shaped("ReduceMean", mean, LOGITS, (batch, classes), no_axis)
        return [logits, steps] if self._options.per_step else [logits]


def _casts_alike(value: ir.Value) -> list[ir.Node]:
    """The nodes that take `value`, where each only casts it, and all to one type; else none."""
    users = value.consumers()
    if value.is_graph_output() or any(node.op_type != "Cast" for node in users):
        return []
    return list(users) if len({node.attributes["to"].as_int() for node in users}) == 1 else []
