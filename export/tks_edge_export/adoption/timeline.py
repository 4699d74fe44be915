"""Which timestep each value of a recorded run belongs to, and which of them make up one timestep.

A run that loops over timesteps calls every neuron once for each; a value belongs to the timestep of the neurons that it
comes from, and to none where it comes from no neuron. The first timestep is the network; the others must be the same,
which is found out by running both. A run over whole sequences calls every neuron once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.adoption.layer import Layer
from tks_edge_export.adoption.recording import Call, Recording, Value
from tks_edge_export.probe import named

_LISTED = frozenset({"stack", "cat", "concat"})
_ADDED = frozenset({"add", "__add__", "__radd__", "__iadd__", "add_"})
_HANDED_ON = frozenset(
    {
        "mean",
        "sum",
        "div",
        "__truediv__",
        "mul",
        "__mul__",
        "__rmul__",
        "transpose",
        "permute",
        "squeeze",
        "unsqueeze",
        "view",
        "reshape",
        "contiguous",
        "clone",
        "detach",
        "float",
        "to",
    }
)
"""What may be done to the values of all timesteps: a mean, a sum, another order of axes."""


@dataclass(frozen=True)
class Timeline:
    """A run, by timesteps.

    Attributes:
        outputs: the values that the timesteps give, in order; one value where the run has all timesteps in one.
        step_input: the value that stands for the input of the first timestep: the input, or its first frame.
        frames: whether each timestep has an input of its own.
    """

    outputs: tuple[Value, ...]
    step_input: Value
    frames: bool


def timeline(recording: Recording, layers: Mapping[str, Layer], output: Value) -> Timeline:
    """Find the first timestep of a run.

    Args:
        recording: the run.
        layers: its layers, translated, by path.
        output: what it returned, all timesteps together.

    Raises:
        AdoptionError: neurons run at several places, or mix timesteps.
    """
    return _Timeline(recording, layers).found(output)


class _Timeline:
    def __init__(self, recording: Recording, layers: Mapping[str, Layer]) -> None:
        self._recording = recording
        self._layers = layers
        self._input = recording.inputs[0]
        self._neurons: dict[str, list[Call]] = {}
        for call in recording.calls:
            if call.module is not None and layers[call.target].is_neuron:
                self._neurons.setdefault(call.target, []).append(call)
        self._steps: dict[Value, int | None] = {}
        self._frame: Value | None = None

    def found(self, output: Value) -> Timeline:
        timesteps = self._count()
        for call in self._recording.calls:
            self._place(call)
        if timesteps == 1:
            entry = self._frame or self._input
            return Timeline((_listed_alone(output) or output,), entry, self._frame is not None)
        leaves = self._leaves(output)
        steps = [self._steps.get(leaf) for leaf in leaves]
        if sorted(step for step in steps if step is not None) != list(range(timesteps)) or len(steps) != timesteps:
            raise AdoptionError(
                f"the network runs {timesteps} timesteps and gives what those of numbers {_numbers(steps)} gave; all "
                "of them, as a list, a sum or a mean, are needed."
            )
        outputs = tuple(leaves[steps.index(step)] for step in range(timesteps))
        return Timeline(outputs, self._frame or self._input, self._frame is not None)

    def _count(self) -> int:
        counts = {path: len(calls) for path, calls in self._neurons.items()}
        if not counts:
            raise AdoptionError("the network has no neurons that are known; nothing of it is over time.")
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[least] != counts[most]:
            raise AdoptionError(
                f"{self._named(most)} runs {counts[most]} times and {self._named(least)} {counts[least]} times: a "
                "neuron that several places share has one state for all. Give each place its own."
            )
        return counts[most]

    def _named(self, path: str) -> str:
        return named(path, self._recording.network.get_submodule(path))

    def _place(self, call: Call) -> None:
        """Note the timestep of what a call gives."""
        if call.target == "__getitem__" and call.inputs[0] is self._input and isinstance(call.arguments[1], int):
            step: int | None = call.arguments[1]
            if step == 0:
                self._frame = call.outputs[0]
        elif call.module is not None and self._layers[call.target].is_neuron:
            step = self._neurons[call.target].index(call)
            self._check_neuron(call, step)
        else:
            found = {self._steps.get(value) for value in call.inputs} - {None}
            # Of several timesteps: part of the readout, or else it is missed there.
            step = found.pop() if len(found) == 1 else None if not found else -1
        for value in call.outputs:
            self._steps[value] = step

    def _check_neuron(self, call: Call, step: int) -> None:
        current, *states = call.inputs
        of_current = self._steps.get(current)
        if of_current not in (None, step):
            raise AdoptionError(
                f"{self._named(call.target)} reads at timestep {step} what timestep {of_current} gave. A graph is made "
                "of one timestep: only a neuron's own state goes from one to the next."
            )
        before = self._neurons[call.target][step - 1].outputs if step else []
        for state in states:
            if not (state in before if step else state.constant is not None or state in self._recording.inputs):
                raise AdoptionError(
                    f"{self._named(call.target)} gets a state at timestep {step} that is not the one it gave before. "
                    "A state is handed on as it is, and starts anew where the network does."
                )

    def _leaves(self, value: Value) -> list[Value]:
        """The values of single timesteps that a value of all of them is made of."""
        call = value.maker
        if self._steps.get(value) != -1 or call is None:
            return [value]
        if call.target in _LISTED or call.target in _ADDED:
            parts = [each for each in call.inputs if each.constant is None]
        elif call.target in _HANDED_ON:
            parts = call.inputs[:1]
        else:
            raise AdoptionError(
                f"the module {call.inside!r} reads out all timesteps with {call.target!r}; they may be listed, added "
                "or averaged."
            )
        return [leaf for part in parts for leaf in self._leaves(part)]


def _listed_alone(value: Value) -> Value | None:
    """The one timestep of a list of timesteps that a value is made of, where it is."""
    call = value.maker
    if call is None:
        return None
    if call.target in _LISTED:
        return call.inputs[0] if len(call.inputs) == 1 else None
    return _listed_alone(call.inputs[0]) if call.target in _HANDED_ON else None


def _numbers(steps: Sequence[int | None]) -> str:
    return ", ".join("none" if step is None else str(step) for step in steps) or "none"
