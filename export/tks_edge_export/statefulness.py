"""Does a network keep anything between calls outside its LIF layers? A graph would lose it, so it is refused.

Nothing is looked up in a list of known neurons: the network runs on an input, on another, and on the first again, and
must then give the same output, with the same numbers in its modules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import FunctionType

import numpy as np
import torch
from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_export.probe import Probe, values_recorded

_TOLERANCE = 1e-5
"""Relative to the largest value: the same operations on the same numbers, but perhaps on other threads."""
_DEPTH = 4
_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"_buffers"}
_KEEP = "A graph would lose it: keep state in tks_edge_models.LIF alone, and compute the rest from the current input"

_ABSENT = object()

Snapshot = dict[tuple[str, str], object]


def check_stateless(probe: Probe, x: Tensor) -> None:
    """Refuse a network that keeps something between calls, or draws random numbers.

    Raises:
        ExportError: names the module.
    """
    first = probe.run(x)
    before, versions = _snapshot(probe.network), _versions(probe.network)
    probe.run(varied(x))
    again = probe.run(x)
    after = _snapshot(probe.network)
    for path, name in {**before, **after}:
        if not alike(before.get((path, name), _ABSENT), after.get((path, name), _ABSENT)):
            raise ExportError(f"{probe.name(path)} keeps a state between calls: its {name!r} changes. {_KEEP}.")
    for name, version in _versions(probe.network).items():
        if versions.get(name) != version:
            raise ExportError(f"the network changes its weight {name!r} when it runs. {_KEEP}.")
    if not alike(first, again):
        where = probe.name(_first_difference(probe, x, seed=0))
        raise ExportError(f"{where} gives another output when it gets the same input again. {_KEEP}.")
    if not alike(again, probe.run(x, seed=1)):
        where = probe.name(_first_difference(probe, x, seed=1))
        raise ExportError(
            f"{where} draws random numbers, in evaluation mode too; leave them out (dropout as a function needs "
            "training=self.training)."
        )


def varied(x: Tensor) -> Tensor:
    """Another input of the same kind: the same values in other places."""
    return x.flatten().roll(1).reshape(x.shape)


def _first_difference(probe: Probe, x: Tensor, seed: int) -> str:
    """The path of the first module that makes something else after another input, with the random numbers of `seed`."""
    with values_recorded(probe) as before:
        probe.run(x)
    probe.run(varied(x))
    with values_recorded(probe) as after:
        probe.run(x, seed=seed)
    for (path, one), (_, other) in zip(before, after, strict=False):
        if not alike(one, other):
            return path
    return ""


def _snapshot(network: nn.Module) -> Snapshot:
    """Every number and tensor that the modules hold beside their weights, by module path and attribute."""
    return {
        (path, name): content
        for path, layer in network.named_modules()
        for attribute, value in vars(layer).items()
        if attribute not in _OF_EVERY_MODULE
        for name, content in _contents(attribute, value, _DEPTH)
    }


def _contents(name: str, value: object, depth: int) -> Iterator[tuple[str, object]]:
    """The numbers, strings and tensors in an attribute, those of containers and plain objects included."""
    if isinstance(value, Tensor):
        yield name, value.detach().clone()
    elif isinstance(value, np.ndarray):
        yield name, torch.from_numpy(value.copy()) if value.dtype.kind in "biuf" else None
    elif value is None or isinstance(value, (bool, int, float, str)):
        yield name, value
    elif depth and not isinstance(value, (nn.Module, type, FunctionType)):
        children: Iterator[tuple[object, object]]
        if isinstance(value, dict):
            children = iter(value.items())
        elif isinstance(value, (list, tuple, deque)):
            children = iter(enumerate(value))
        else:
            children = iter(getattr(value, "__dict__", {}).items())
        for key, child in list(children):
            inner = str(key) if name == "_buffers" else f"{name}.{key}"
            yield from _contents(inner, child, depth - 1)


def _versions(network: nn.Module) -> dict[str, int]:
    """How often every weight has been written to."""
    return {name: weight._version for name, weight in network.named_parameters()}


def alike(one: object, other: object) -> bool:
    """Whether two values are the same up to rounding."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        if not one.is_floating_point():
            return torch.equal(one, other)
        largest = float(one.nan_to_num(0.0, 0.0, 0.0).abs().max()) if one.numel() else 0.0
        return torch.allclose(one, other, rtol=0.0, atol=_TOLERANCE * largest, equal_nan=True)
    return type(one) is type(other) and (one == other or one != one)
