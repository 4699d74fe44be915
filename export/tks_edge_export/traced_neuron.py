"""A neuron that is no LIF: its `step`, traced to ONNX nodes once, and laid out step after step.

Two functions are traced, since a network starts at rest: the first step, in which the state is a number that constant
folding takes in, and any later one.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence

import onnx_ir as ir
import torch
from onnx_ir.passes import common
from onnxscript import optimizer
from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_steps import spikes_name, state_name
from tks_edge_export.over_time import OverTime
from tks_edge_export.probe import reason
from tks_edge_models.neuron import Neuron, State

Trace = Callable[[str, nn.Module, tuple[Tensor, ...], Sequence[str]], ir.Model]
"""Traces the step of the neuron that messages call so, on these inputs, of these names."""
_FLOAT = ir.DataType.FLOAT


class TracedStep:
    """One timestep of neurons as graphs, from their current and states to their spikes and the states after it.

    Args:
        rest: each state before the first step, where it is one number everywhere; else None.
        trace_first: traces the first step: the current alone goes in.
        trace_later: traces any other.
    """

    def __init__(
        self, rest: tuple[float | None, ...], trace_first: Callable[[], ir.Graph], trace_later: Callable[[], ir.Graph]
    ) -> None:
        self.rest = rest
        self._trace_first = trace_first
        self._trace_later = trace_later

    @functools.cached_property
    def first(self) -> ir.Graph:
        """The first step."""
        return self._trace_first()

    @functools.cached_property
    def later(self) -> ir.Graph:
        """Any other step."""
        return self._trace_later()

    @property
    def starts_at_zero(self) -> bool:
        """Whether every state is 0 before the first step."""
        return all(number == 0.0 for number in self.rest)


class TracedNeuron:
    """A layer of neurons that is traced for the shape of its current, which passes may change.

    Args:
        path: its module path; it names the nodes.
        name: it, as messages name it.
        neuron: on the CPU; it is not changed.
        trace: what traces.
    """

    def __init__(self, path: str, name: str, neuron: Neuron, trace: Trace) -> None:
        self._path = path
        self._name = name
        self._neuron = copy.deepcopy(neuron)
        self._neuron.fire = _fires  # type: ignore[method-assign]
        self._trace = trace
        self._steps: dict[tuple[int, ...], TracedStep] = {}

    def check(self, shape: Sequence[int]) -> None:
        """Try a step for a current of this shape.

        Raises:
            ExportError: it is not as `Neuron` asks for.
        """
        x, decided = torch.zeros(tuple(shape)), []
        tried = copy.deepcopy(self._neuron)
        tried.fire = lambda distance: decided.append(distance) or _fires(distance)  # type: ignore[method-assign, func-returns-value]
        try:
            with torch.no_grad():
                rest = tried.rest(x)
                given = tried.step(x, rest)
        except Exception as error:
            raise ExportError(f"the step of {self._name} fails for a current {list(shape)}: {reason(error)}") from error
        _check(self._name, x, rest, given)
        if len(decided) != 1:
            raise ExportError(
                f"{self._name} calls fire() {len(decided)} times a step; a neuron decides once, by its distance from "
                "the threshold, and that call gives its spikes."
            )

    def at(self, shape: Sequence[int]) -> TracedStep:
        """One timestep for a current of this shape, `[N, ...]`.

        Raises:
            ExportError: the step is not as `Neuron` asks for, or has no operator.
        """
        if tuple(shape) not in self._steps:
            self.check(shape)
            self._steps[tuple(shape)] = self._traced(torch.zeros(tuple(shape)))
        return self._steps[tuple(shape)]

    def _traced(self, x: Tensor) -> TracedStep:
        with torch.no_grad():
            rest = self._neuron.rest(x)
            numbers = tuple(_everywhere(state) for state in rest)
            start = tuple(
                state if number is None else torch.tensor(number) for state, number in zip(rest, numbers, strict=True)
            )
            if any(state.shape != x.shape for state in self._neuron.step(x, start)[1]):
                start = rest  # A state that its current does not reach keeps the shape that it has.
        names = ["x", *(f"state{i}" for i in range(len(rest)))]
        return TracedStep(
            numbers,
            lambda: self._graph(_Step(self._neuron, start), (x,), names[:1]),
            lambda: self._graph(_Step(self._neuron), (x, *rest), names),
        )

    def _graph(self, step: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str]) -> ir.Graph:
        return _prepared(self._trace(self._name, step, inputs, names), self._path)

    def check_step_form(self, traced: TracedStep) -> None:
        """Refuse states that cannot be those of a step graph, which start at zero."""
        if not traced.starts_at_zero:
            raise ExportError(
                f"{self._name} rests at another state than 0, and the states of a step graph start at 0. Measure its "
                "potentials from rest, or export the form static."
            )


class _Step(nn.Module):
    """One timestep as a function from tensors to tensors, its states handed in or fixed."""

    def __init__(self, neuron: Neuron, start: State | None = None) -> None:
        super().__init__()
        self.neuron = neuron
        self.fixed = start is not None
        for index, state in enumerate(start or ()):
            self.register_buffer(f"start{index}", state)

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        spikes, after = self.neuron.step(x, tuple(self.buffers(recurse=False)) if self.fixed else state)
        return (spikes, *after)


def _fires(distance: Tensor) -> Tensor:
    return (distance >= 0).to(distance.dtype)


def _everywhere(state: Tensor) -> float | None:
    first = state.flatten()[0]
    return float(first) if bool((state == first).all()) else None


def _check(name: str, x: Tensor, rest: object, given: object) -> None:
    spikes, after = given if isinstance(given, tuple) and len(given) == 2 else (None, None)
    tensors = [spikes, *(rest if isinstance(rest, tuple) else [None]), *(after if isinstance(after, tuple) else [None])]
    if not all(isinstance(t, Tensor) and t.shape == x.shape and t.dtype == torch.float32 for t in tensors):
        raise ExportError(
            f"{name} steps to something else than (spikes, states): for a current {list(x.shape)}, the spikes and each "
            "state of rest() and step() are float32 tensors of that shape, the states in a tuple."
        )
    if isinstance(rest, tuple) and isinstance(after, tuple) and len(rest) != len(after):
        raise ExportError(f"{name} rests with {len(rest)} states and steps to {len(after)}; these must be as many.")


def _prepared(model: ir.Model, path: str) -> ir.Graph:
    """The graph with everything folded that is known, its nodes and constants named after the layer."""
    optimizer.fold_constants_ir(model)
    for each in (
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
        common.ShapeInferencePass(),
    ):
        each(model)
    graph = model.graph
    constants = list(graph.initializers.values())
    graph.initializers.clear()
    for value in constants:
        value.name = f"{path}.{value.name}"
        graph.initializers[value.name] = value
    return graph


def state_names(path: str, count: int) -> list[str]:
    """Name the inputs of a step graph that hold the states of a neuron: numbered where there are several."""
    return [state_name(path)] if count == 1 else [f"{state_name(path)}.{index}" for index in range(count)]


def emit_traced(
    builder: GraphBuilder, path: str, current: OverTime, traced: TracedStep, states: Sequence[ir.Value] | None = None
) -> tuple[OverTime, list[ir.Value]]:
    """Append a traced neuron over all its timesteps.

    Args:
        builder: the graph that is being built.
        path: module path of the layer; it names the values.
        current: the input, `[N, ...]` a step.
        traced: its step.
        states: those before the first step, float32; at rest where there are none.

    Returns:
        The spikes, 0 or 1, in the type of `current`, named by `spikes_name`; and the states after the last step.
    """
    spikes_type = current.steps()[0].dtype or _FLOAT
    fired: list[ir.Value] = []
    after = None if states is None else list(states)
    for t, x in enumerate(current.steps()):
        value = x if spikes_type == _FLOAT else builder.cast(x, _FLOAT, f"{path}.t{t}.current")
        graph = traced.first if after is None else traced.later
        spikes, *after = _appended(builder, graph, [value, *(after or [])], f"{path}.t{t}")
        fired.append(spikes)
    if after is None:
        raise AssertionError("there is at least one timestep")
    merged = OverTime.of_steps(builder, fired, f"{path}.fires").merged()
    if spikes_type == _FLOAT:
        spikes = builder.add("Identity", [merged], spikes_name(path))
    else:
        spikes = builder.cast(merged, spikes_type, spikes_name(path))
    return OverTime.of_merged(builder, current.timesteps, spikes), after


def _appended(builder: GraphBuilder, graph: ir.Graph, inputs: Sequence[ir.Value], name: str) -> list[ir.Value]:
    """Append a copy of a whole graph on these inputs; returns its outputs."""
    values: dict[ir.Value, ir.Value] = dict(zip(graph.inputs, inputs, strict=True))
    values |= {old: builder.weight(old) for old in graph.initializers.values()}
    for node in graph:
        copies = builder.copy(node, [None if value is None else values[value] for value in node.inputs], "")
        for old, new in zip(node.outputs, copies, strict=True):
            new.name = f"{name}.{old.name}"
            values[old] = new
        if (made := copies[0].producer()) is not None:
            made.name = f"{name}.{node.name}"
    return [values[output] for output in graph.outputs]
