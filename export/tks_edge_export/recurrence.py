"""Neurons and recurrent layers that the network runs without the state they had at the timestep before.

What is called without its state forgets it after the call. Over an axis of the data, such as the words of a sentence,
that is what it was trained to do. Where all that it gets is one timestep, time is its axis, and a graph that is made of
one timestep would never hand its state on.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tks_edge_export.errors import ExportError
from tks_edge_export.probe import Probe, tensors_in
from tks_edge_export.statefulness import alike
from tks_edge_models import lif

_NAMES_OF_STATE = ("hx", "hidden", "mem", "state")
_EQUATIONS = {function.__code__: function.__name__ for function in (lif.step, lif.charge, lif.reset)}
_ANEW = "the graph would start it anew at every step"


@dataclass(frozen=True)
class _Call:
    """One call of a layer that takes something beside its input: what its parameters got, and what it gave."""

    path: str
    layer: nn.Module
    arguments: inspect.BoundArguments
    output: object

    @property
    def others(self) -> dict[str, object]:
        """What it got beside its input, by the name of the parameter."""
        return dict(list(self.arguments.arguments.items())[1:])

    def again(self, changed: Mapping[str, object]) -> list[Tensor] | None:
        """What the layer gives with other arguments; None where it does not take them."""
        arguments = copy.deepcopy(self.arguments)  # The layer may write to them.
        arguments.arguments.update(changed)
        try:
            with torch.no_grad():
                return tensors_in(self.layer.forward(*arguments.args, **arguments.kwargs))
        except Exception:
            return None


def check_recurrence(probe: Probe, x: Tensor) -> None:
    """Refuse neurons and recurrent layers that start anew at every timestep.

    Raises:
        ExportError: names the module.
    """
    calls: list[_Call] = []
    with ExitStack() as watched:
        for path, layer in probe.network.named_modules():
            watched.enter_context(_recorded(path, layer, calls))
        equations = watched.enter_context(_equations_recorded(probe))
        probe.run(x)
    for path, name in equations:
        raise ExportError(
            f"{probe.name(path)} calls `{name}` of tks_edge_models.lif itself: {_ANEW}. Use tks_edge_models.LIF."
        )
    _check_left_out(probe, calls)
    _check_fed_back(probe, calls)


@contextmanager
def _recorded(path: str, layer: nn.Module, calls: list[_Call]) -> Iterator[None]:
    """Collect the calls of a layer, where it takes something beside its input."""
    signature = inspect.signature(layer.forward)

    def note(layer: nn.Module, inputs: tuple[object, ...], options: dict[str, object], output: object) -> None:
        if len(signature.parameters) > 1:
            arguments = signature.bind(*inputs, **options)
            arguments.apply_defaults()
            calls.append(_Call(path, layer, arguments, output))

    handle = layer.register_forward_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _equations_recorded(probe: Probe) -> Iterator[list[tuple[str, str]]]:
    """Collect who calls the LIF equations, by whatever name they were imported, as (module path, function)."""
    paths = {id(layer): path for path, layer in probe.network.named_modules()}
    found: list[tuple[str, str]] = []

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code in _EQUATIONS:
            name, caller = _EQUATIONS[frame.f_code], frame.f_back
            while caller is not None and id(caller.f_locals.get("self")) not in paths:
                caller = caller.f_back
            found.append((paths[id(caller.f_locals["self"])] if caller is not None else "", name))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _check_left_out(probe: Probe, calls: Sequence[_Call]) -> None:
    """Refuse a layer whose state, known by its type or name, is left out over nothing but the one timestep."""
    recurrent = [call for call in calls if _is_recurrent(call.layer)]
    carried_on = {
        call.path
        for call in recurrent
        if any(_names_state(name) and value is not None for name, value in call.others.items())
        or (
            isinstance(call.layer, nn.RNNBase) and _steps(call.layer, next(iter(call.arguments.arguments.values()))) > 1
        )
    }
    for call in recurrent:
        if call.path not in carried_on:
            raise ExportError(
                f"{probe.name(call.path)} is recurrent and runs without its state, one timestep at a time: {_ANEW}. "
                "Use tks_edge_models.LIF, or let it run over an axis of the data."
            )


def _is_recurrent(layer: nn.Module) -> bool:
    """Whether the layer takes a state beside its input, which is left out at the start."""
    if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        return True
    optional = list(inspect.signature(type(layer).forward).parameters.values())[2:]
    return any(_names_state(each.name) for each in optional) and all(each.default is None for each in optional)


def _names_state(name: str) -> bool:
    return any(word in name for word in _NAMES_OF_STATE)


def _steps(layer: nn.RNNBase, x: object) -> int:
    return int(x.shape[1 if layer.batch_first and x.ndim == 3 else 0]) if isinstance(x, Tensor) else 0


def _check_fed_back(probe: Probe, calls: Sequence[_Call]) -> None:
    """Refuse a layer that always starts from rest, though it gives what it could go on from."""
    for call in calls:
        # PyTorch's own layers take masks there; those with a state are known by their type.
        if type(call.layer).forward.__module__.startswith("torch."):
            continue
        name = _state_at_rest(call, [other for other in calls if type(other.layer) is type(call.layer)])
        if name is not None:
            raise ExportError(
                f"{probe.name(call.path)} gives what its {name!r} could go on from, but always starts from rest: "
                f"{_ANEW}. Use tks_edge_models.LIF; if {name!r} is no state, leave that parameter or output out."
            )


def _state_at_rest(call: _Call, of_its_class: Sequence[_Call]) -> str | None:
    """The parameter that no call of this class gives anything but rest, though what the layer gives could go there."""
    names = [
        name
        for name in call.others
        if "mask" not in name and all(_is_rest(each.others.get(name)) for each in of_its_class)
    ]
    if isinstance(call.output, Tensor):
        return next((name for name in names if _makes_up(call, name, call.output)), None)
    if not names or not isinstance(call.output, (tuple, list)) or (given := call.again({})) is None:
        return None
    for changed in _fed_back(names, call.output):
        gives = call.again(changed)
        if gives is not None and not _all_alike(given, gives):
            return next(iter(changed))
    return None


def _makes_up(call: _Call, name: str, output: Tensor) -> bool:
    """Whether a layer makes up zeros for what it does not get, and its one output could be that.

    What makes something up runs no more operations when it gets one; a layer without its residual input runs fewer.
    """
    with _Operations() as without:
        given = call.again({})
    with _Operations() as fed:
        gives = call.again({name: output})
    zeros = call.again({name: torch.zeros_like(output)})
    if given is None or gives is None or zeros is None or fed.count > without.count:
        return False
    return _all_alike(given, zeros) and not _all_alike(given, gives)


class _Operations(TorchFunctionMode):
    """Counts PyTorch's operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, function: Any, _types: object, inputs: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return function(*inputs, **(options or {}))


def _is_rest(value: object) -> bool:
    """Whether this is nothing, or the same number everywhere."""
    if not isinstance(value, Tensor):
        return value is None
    is_input = value.is_floating_point() and value.numel() > 0 and not isinstance(value, nn.Parameter)
    return is_input and bool((value == value.flatten()[0]).all())


def _fed_back(names: Sequence[str], output: Sequence[object]) -> Iterator[dict[str, object]]:
    """The ways in which what a layer gave could be its state: one by one, all in one, or in order."""
    for name in names:
        yield from ({name: value} for value in (*output[1:], output))
    if len(names) > 1:
        for values in (output[1:], output):
            if len(values) == len(names):
                yield dict(zip(names, values, strict=True))


def _all_alike(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(alike, one, other))
