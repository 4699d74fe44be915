"""Recurrent layers: which of them are layers like any other, and which would start anew at every timestep.

A recurrent layer that is called without its state forgets it after the call. Over an axis of the data, such as the
words of a sentence, that is what it was trained to do. Where all that it gets is one timestep, time is its axis, and a
graph that is made of one timestep would never hand its state on.
"""

from __future__ import annotations

import inspect

from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_export.probe import Probe

_NAMES_OF_STATE = ("hx", "hidden", "mem", "state")


def check_recurrence(probe: Probe, x: Tensor) -> None:
    """Refuse a recurrent layer that is called without its state, over nothing but the one timestep.

    Raises:
        ExportError: names the module.
    """
    layers = {path: layer for path, layer in probe.network.named_modules() if _is_recurrent(layer)}
    if not layers:
        return
    carried_on: set[str] = set()
    begun: set[str] = set()
    handles = []
    for path, layer in layers.items():

        def note(layer: nn.Module, inputs: tuple[object, ...], options: dict[str, object], path: str = path) -> None:
            state = inputs[1] if len(inputs) > 1 else next((options[n] for n in options if _names_state(n)), None)
            if state is not None or (isinstance(layer, nn.RNNBase) and _steps(layer, inputs, options) > 1):
                carried_on.add(path)
            else:
                begun.add(path)

        handles.append(layer.register_forward_pre_hook(note, with_kwargs=True))
    try:
        probe.run(x)
    finally:
        for handle in handles:
            handle.remove()
    for path in sorted(begun - carried_on):
        raise ExportError(
            f"{probe.name(path)} is recurrent and runs without its state, one timestep at a time: the graph would "
            "start it anew at every step. Use tks_edge_models.LIF, or let it run over an axis of the data."
        )


def _is_recurrent(layer: nn.Module) -> bool:
    """Whether the layer takes a state beside its input, which is left out at the start."""
    if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        return True
    optional = list(inspect.signature(type(layer).forward).parameters.values())[2:]
    return any(_names_state(each.name) for each in optional) and all(each.default is None for each in optional)


def _names_state(name: str) -> bool:
    return any(word in name for word in _NAMES_OF_STATE)


def _steps(layer: nn.RNNBase, inputs: tuple[object, ...], options: dict[str, object]) -> int:
    x = inputs[0] if inputs else options.get("input")
    if not isinstance(x, Tensor):
        return 0
    return int(x.shape[1 if layer.batch_first and x.ndim == 3 else 0])
