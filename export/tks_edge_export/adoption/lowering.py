"""From the recorded calls of one timestep to a graph of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tks_edge_export.adoption.arrangement import Sequence, rearranged, repeated
from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.adoption.functions import operation, same_value
from tks_edge_export.adoption.layer import MERGED, ONE_STEP, Layer
from tks_edge_export.adoption.recording import Call, Recording, Value
from tks_edge_export.adoption.timeline import Timeline
from tks_edge_export.probe import named
from tks_edge_models.graph import INPUT, Graph, Node

_ANY_AXES = frozenset({"linear", "identity", "relu", "layer_norm", "flatten"})
"""Layers of PyTorch that treat all axes in front alike, and so run on sequences as they are."""


@dataclass(frozen=True)
class Lowered:
    """A graph, and what the run was like.

    Attributes:
        graph: of one timestep.
        weights: by module path and name.
        axes: the leading axes of the run's input.
        sequence: how the run is over time; None where one run is one timestep.
        input_shape: of one sample at one timestep.
        output: the value of the run that the graph gives, before its timesteps were arranged or averaged.
        output_axes: its leading axes.
    """

    graph: Graph
    weights: dict[str, Tensor]
    axes: str
    sequence: Sequence | None
    input_shape: tuple[int, ...]
    output: Value
    output_axes: str


@dataclass(frozen=True)
class _Seen:
    """A value of the run as one of the graph: its name there, and its leading axes in the run."""

    name: str
    axes: str


def lower(recording: Recording, line: Timeline, layers: Mapping[str, Layer]) -> Lowered:
    """Translate one timestep.

    Args:
        recording: the run.
        line: which timestep is which.
        layers: by path.

    Raises:
        AdoptionError: a function has no operator, or a layer gets its input along another time axis than it takes.
    """
    taken = {layer.axes for layer in layers.values() if layer.is_neuron} - {ONE_STEP}
    if len(taken) > 1:
        raise AdoptionError(f"some neurons take {' and some '.join(map(_in_words, sorted(taken)))}; use one form.")
    over_time = next(iter(taken), ONE_STEP)
    try:
        return _Lowering(recording, line, layers, over_time).lowered(over_time)
    except AdoptionError:
        if over_time == ONE_STEP:
            raise
        # A still image that the network itself repeats has no time axis yet.
        of_still = _Lowering(recording, line, layers, over_time)
        try:
            return of_still.lowered(ONE_STEP)
        except AdoptionError:
            if of_still.is_over_time:
                raise
        raise


class _Lowering:
    def __init__(self, recording: Recording, line: Timeline, layers: Mapping[str, Layer], over_time: str) -> None:
        self._recording = recording
        self._line = line
        self._layers = layers
        self._over_time = over_time
        self._seen: dict[Value, _Seen] = {}
        self._nodes: list[Node] = []
        self._weights: dict[str, Tensor] = {}
        self._sequence: Sequence | None = None

    @property
    def is_over_time(self) -> bool:
        """Whether a value with several timesteps was met."""
        return self._sequence is not None

    def lowered(self, axes: str) -> Lowered:
        entry = self._line.step_input
        self._see(entry, INPUT, axes)
        for call in self._needed():
            if call.module is not None:
                self._layer(call, self._layers[call.target])
            elif not self._arranges(call):
                self._function(call)
        if self._line.outputs[0] not in self._seen:
            raise AdoptionError("what the network returns does not depend on its input.")
        graph = Graph(tuple(self._nodes), self._seen[self._line.outputs[0]].name)
        graph.check()
        output, seen = next((value, seen) for value, seen in self._seen.items() if seen.name == graph.output)
        return Lowered(graph, self._weights, axes, self._sequence, entry.shape[len(axes) :], output, seen.axes)

    def _see(self, value: Value, name: str, axes: str) -> None:
        self._seen[value] = _Seen(name, axes)
        if axes == self._over_time == MERGED:
            told = next(layer for layer in self._layers.values() if layer.axes == MERGED)
            self._sequence = Sequence.of_merged(value.shape[0], told.batch, told.timesteps)
        elif axes == self._over_time != ONE_STEP:
            self._sequence = Sequence.of(axes, value.shape)

    def _needed(self) -> list[Call]:
        """The calls that the output of the first timestep comes from, in order; states come from elsewhere."""
        needed: set[Call] = set()
        pending = [self._line.outputs[0]]
        while pending:
            value = pending.pop()
            call = value.maker
            if call is None or call in needed or value is self._line.step_input:
                continue
            needed.add(call)
            is_neuron = call.module is not None and self._layers[call.target].is_neuron
            if is_neuron and value.position:
                raise AdoptionError(f"the network computes with the state of {self._named(call)}, not with its spikes.")
            pending += call.inputs[:1] if is_neuron else call.inputs
        return [call for call in self._recording.calls if call in needed]

    def _named(self, call: Call) -> str:
        return named(call.target, self._recording.network.get_submodule(call.target))

    def _layer(self, call: Call, layer: Layer) -> None:
        seen = self._known(call.inputs[0], call)
        options = dict(layer.options)
        # To a layer of one timestep, timesteps that are merged into the batch are samples.
        axes = ONE_STEP if seen.axes == MERGED != layer.axes else seen.axes
        if axes != layer.axes and not (layer.axes == ONE_STEP and layer.operator in _ANY_AXES):
            raise AdoptionError(
                f"{self._named(call)} takes {_in_words(layer.axes)}, and gets {_in_words(axes)} here, "
                f"{list(call.inputs[0].shape)}."
            )
        if layer.operator == "flatten":
            options = self._flattened(call, options, _shift(axes))
        name = self._fresh(call.target) if call.target in self._taken() else call.target
        module = None if name == call.target else call.target
        self._nodes.append(Node(name, layer.operator, (seen.name,), options, module))
        self._weights |= {f"{call.target}.{key}": tensor for key, tensor in layer.weights.items()}
        self._see(call.outputs[0], name, seen.axes)

    def _flattened(self, call: Call, options: dict[str, int], shift: int) -> dict[str, int]:
        rank = len(call.inputs[0].shape)
        start, end = (axis + rank if axis < 0 else axis for axis in (options["start_dim"], options["end_dim"]))
        # SpikingJelly's Flatten in multi-step mode counts the axes of a timestep already.
        if self._layers[call.target].axes != ONE_STEP:
            start, end, shift = options["start_dim"], options["end_dim"], 0
        if 0 <= start <= shift:
            raise AdoptionError(f"{self._named(call)} flattens time or batch; only axes behind them may be.")
        return {"start_dim": start - shift, "end_dim": end - shift if end > 0 else end}

    def _arranges(self, call: Call) -> bool:
        """Whether a call does nothing but arrange timesteps: then its output stands for its input."""
        seen = self._seen.get(call.inputs[0])
        if seen is None or self._over_time == ONE_STEP or not call.outputs:
            return False
        axes = repeated(call, seen.axes, self._over_time)
        if axes is None and self._sequence is not None:
            axes = rearranged(call, seen.axes, self._sequence)
        if axes is None:
            return False
        self._see(call.outputs[0], seen.name, axes)
        return True

    def _function(self, call: Call) -> None:
        seen = [self._known(value, call) for value in call.inputs if value.constant is None]
        axes = max((each.axes for each in seen), key=_shift)
        found = operation(call, _shift(axes))
        if found is None:
            same = self._known(same_value(call), call)
            self._see(call.outputs[0], same.name, same.axes)
            return
        name = self._fresh(f"{call.inside}.{found.operator}" if call.inside else found.operator)
        inputs = tuple(self._known(value, call).name for value in found.operands)
        self._nodes.append(Node(name, found.operator, inputs, dict(found.options)))
        self._see(call.outputs[0], name, axes)

    def _known(self, value: Value, call: Call) -> _Seen:
        if value not in self._seen:
            what = "a constant tensor" if value.constant is not None else "a value of another timestep"
            raise AdoptionError(f"{call.target!r} in the module {call.inside!r} computes with {what}.")
        return self._seen[value]

    def _taken(self) -> set[str]:
        """The names of the nodes so far, and of the input."""
        return {INPUT, *(node.name for node in self._nodes)}

    def _fresh(self, wanted: str) -> str:
        """A name that no node and no module has."""
        taken, number = self._taken() | self._layers.keys(), 1
        while f"{wanted}_{number}" in taken:
            number += 1
        return f"{wanted}_{number}"


def _shift(axes: str) -> int:
    """How many axes a value has more in front than one timestep's."""
    return len(axes) - 1


def _in_words(axes: str) -> str:
    return "[" + ", ".join([*axes, "..."]) + "]"
