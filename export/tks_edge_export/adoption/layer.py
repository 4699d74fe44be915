"""What a foreign layer is in ours: an operator, its options, its weights, and what it does about time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.probe import named
from tks_edge_models.graph_operators import NEURONS

ONE_STEP, TIME_FIRST, TIME_SECOND, MERGED = "B", "TB", "BT", "N"
"""The leading axes of a value: `[B, ...]` of one timestep, `[T, B, ...]`, `[B, T, ...]`, or `[B T, ...]` in one."""


@dataclass(frozen=True)
class Layer:
    """A foreign layer, translated.

    Attributes:
        operator: a key of `graph_operators.OPERATORS`.
        options: of the operator.
        weights: by the name that they have in the operator's module.
        axes: the leading axes of what it takes.
        batch: B, of a layer that takes `MERGED` ones, batch first; None where it tells T.
        timesteps: T, likewise.
    """

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    axes: str = ONE_STEP
    batch: int | None = None
    timesteps: int | None = None

    @property
    def is_neuron(self) -> bool:
        """Whether it has a state."""
        return self.operator in NEURONS


class Library(Protocol):
    """How the layers of a library are translated; each library has a file."""

    package: str
    """The name of its import package."""

    def layer(self, path: str, module: nn.Module) -> Layer | None:
        """Translate a layer of the library; None for a module to be looked into.

        Raises:
            AdoptionError: something about it cannot be kept.
        """
        ...


def refuse(path: str, module: nn.Module, what: str) -> AdoptionError:
    """The error that names a layer and what of it cannot be kept."""
    return AdoptionError(f"{named(path, module)} cannot be taken over: {what}.")


def number(path: str, module: nn.Module, name: str, value: object) -> float:
    """A constant of a neuron as one number; a tensor of equal numbers is one.

    Raises:
        AdoptionError: its neurons have several, or it is no number.
    """
    if isinstance(value, Tensor) and value.numel():
        first = value.detach().flatten()[0]
        if not bool((value == first).all()):
            raise refuse(
                path,
                module,
                f"{name} differs from neuron to neuron (shape {list(value.shape)}), and a LIF "
                "layer of ours has one for all",
            )
        return float(first)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise refuse(path, module, f"{name} is {value!r}, and a number is needed")


def of_package(module: nn.Module, package: str) -> bool:
    """Whether the module's class is of this import package."""
    return type(module).__module__.split(".")[0] == package
