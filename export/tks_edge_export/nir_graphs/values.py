"""The constants and arrays of a node, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.wiring import Wired

_DIGITS = 12
"""A product with dt and the division by it leave noise behind the twelfth digit of a float64."""


def refuse(wired: Wired, what: str) -> NirError:
    """The error that names a node and what of it cannot be kept."""
    return NirError(f"the node {wired.name!r} ({wired.kind}) cannot be taken over: {what}.")


def number(wired: Wired, name: str) -> float:
    """A constant that all neurons of a node share.

    Raises:
        NirError: it differs from neuron to neuron, or is no finite number.
    """
    values = np.asarray(getattr(wired.node, name))
    if values.dtype.kind not in "iuf" or not values.size:
        raise refuse(wired, f"{name} is {values.dtype} of shape {list(values.shape)}, and numbers are needed")
    first = values.reshape(-1)[0]
    if not bool((values == first).all()):
        low, high = values.min(), values.max()
        raise refuse(
            wired,
            f"{name} differs from neuron to neuron ({low:g} to {high:g}), and neurons of ours have one for a layer",
        )
    if not np.isfinite(first):
        raise refuse(wired, f"{name} is {first}, and a finite number is needed")
    return float(first)


def rounded(value: float) -> float:
    """A quotient of numbers from a file, without the noise of its last digits."""
    return float(f"{value:.{_DIGITS}g}")


def is_close(value: float, wanted: float) -> bool:
    """Whether both are one number, as float32 would hold it after a few operations."""
    return abs(value - wanted) <= 1e-6 * abs(wanted)


def weights(wired: Wired, name: str, axes: int) -> Tensor:
    """An array of weights, float32.

    Raises:
        NirError: it has another number of axes, is empty, or holds what is no number.
    """
    values: npt.NDArray[Any] = np.asarray(getattr(wired.node, name))
    if values.ndim != axes or not values.size or values.dtype.kind not in "iuf":
        raise refuse(
            wired, f"{name} is {values.dtype} of shape {list(values.shape)}, and numbers along {axes} axes are needed"
        )
    if not np.isfinite(values).all():
        raise refuse(wired, f"{name} holds values that are no finite numbers")
    return torch.from_numpy(np.array(values, dtype=np.float32))


def integers(wired: Wired, name: str, count: int, least: int) -> list[int]:
    """A size along each of `count` axes; one number stands for all.

    Raises:
        NirError: it is no whole number, or below `least`.
    """
    values = np.asarray(getattr(wired.node, name))
    if values.dtype.kind not in "iuf" or values.size not in (1, count) or not bool((values == np.floor(values)).all()):
        raise refuse(wired, f"{name} is {values.tolist()!r}, and {count} whole numbers are needed")
    found = [int(value) for value in values.reshape(-1)] * (count // values.size)
    if min(found) < least:
        raise refuse(wired, f"{name} is {found}; at least {least} is needed")
    return found
