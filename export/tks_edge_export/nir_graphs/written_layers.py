"""The stateless operators of ours as nodes of NIR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.nir_library import require
from tks_edge_models.graph import Node

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """A node where it stands: what goes in and comes out, in shapes of one sample, and its weights by their name."""

    node: Node
    taken: Shape
    given: Shape
    weights: Mapping[str, Tensor]

    def refuse(self, what: str) -> NirError:
        """The error that names the node."""
        return NirError(f"the node {self.node.name!r} ({self.node.operator}) cannot be written as NIR: {what}.")

    def array(self, name: str) -> npt.NDArray[np.float32]:
        """Weights, float32."""
        found: npt.NDArray[np.float32] = self.weights[name].detach().cpu().float().numpy()
        return found

    def pair(self, name: str, default: object) -> tuple[int, int]:
        """A size along two axes."""
        value = self.node.options.get(name)
        value = default if value is None else value
        first, second = (value, value) if isinstance(value, int) else tuple(value)  # type: ignore[arg-type]
        return int(first), int(second)


def layer_nodes(place: Place) -> list[Any]:
    """The nodes, one after the other, that a stateless operator becomes; none where it hands on what it gets.

    Raises:
        NirError: NIR has none for it.
    """
    made = _OPERATORS.get(place.node.operator)
    if made is None:
        raise place.refuse("there is no node for it")
    return made(place)


def _linear(place: Place) -> list[Any]:
    nir = require("nir")
    if len(place.taken) != 1:
        raise place.refuse(f"its input has the shape {list(place.taken)}, and a matrix of NIR takes a vector")
    if "bias" in place.weights:
        return [nir.Affine(place.array("weight"), place.array("bias"))]
    return [nir.Linear(place.array("weight"))]


def _convolution(place: Place, axes: int) -> list[Any]:
    nir = require("nir")
    options = place.node.options
    if options.get("padding_mode", "zeros") != "zeros":
        raise place.refuse(f"its padding is by {options['padding_mode']}, and NIR pads with zeros")
    weight = place.array("weight")
    bias = place.array("bias") if "bias" in place.weights else np.zeros(len(weight), np.float32)
    sizes: dict[str, Any] = {}
    for name, default in (("stride", 1), ("padding", 0), ("dilation", 1)):
        value = options.get(name, default)
        each = value if isinstance(value, (str, int)) else tuple(int(size) for size in value)
        sizes[name] = each if isinstance(each, str) or axes == 2 else each if isinstance(each, int) else each[0]
    shape = place.taken[1:] if axes == 2 else place.taken[1]
    kind = nir.Conv2d if axes == 2 else nir.Conv1d
    return [kind(input_shape=shape, weight=weight, groups=options.get("groups", 1), bias=bias, **sizes)]


def _average(place: Place) -> list[Any]:
    options = place.node.options
    padding = place.pair("padding", 0)
    if options.get("ceil_mode") or options.get("divisor_override"):
        raise place.refuse("it rounds sizes up or divides by a number of its own")
    if any(padding) and not options.get("count_include_pad", True):
        raise place.refuse("it leaves its padding out of the mean, and NIR does not")
    kernel = place.pair("kernel_size", 0)
    return [_pool("AvgPool2d", kernel, place.pair("stride", kernel), padding)]


def _sum(place: Place) -> list[Any]:
    return [_pool("SumPool2d", place.pair("kernel_size", 0), place.pair("stride", 0), (0, 0))]


def _pool(kind: str, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Any:
    sizes = (np.array(size) for size in (kernel, stride, padding))
    return getattr(require("nir"), kind)(*sizes)


def _adaptive(place: Place) -> list[Any]:
    (height, width), (rows, columns) = place.taken[1:], place.given[1:]
    if height % rows or width % columns:
        raise place.refuse(f"its windows of {height}x{width} to {rows}x{columns} are not all of one size")
    kernel = (height // rows, width // columns)
    return [] if kernel == (1, 1) else [_pool("AvgPool2d", kernel, kernel, (0, 0))]


def _mean(place: Place) -> list[Any]:
    dims = sorted(place.node.options["dims"])
    if len(place.taken) != 3 or dims not in ([2, 3], [-2, -1]):
        raise place.refuse(f"it averages over the axes {dims}, and NIR over height and width alone")
    kernel = (place.taken[1], place.taken[2])
    pool = _pool("AvgPool2d", kernel, kernel, (0, 0))
    if place.node.options.get("keepdim"):
        return [pool]
    return [pool, _flat((place.taken[0], 1, 1), 0, -1)]


def _flatten(place: Place) -> list[Any]:
    options = place.node.options
    start, end = options.get("start_dim", 1), options.get("end_dim", -1)
    return [_flat(place.taken, start - 1 if start > 0 else start, end - 1 if end > 0 else end)]


def _reshape(place: Place) -> list[Any]:
    if place.taken == place.given:
        return []
    if len(place.given) != 1:
        raise place.refuse(f"it makes {list(place.given)} of {list(place.taken)}, and NIR can only flatten")
    return [_flat(place.taken, 0, -1)]


def _flat(taken: Shape, start: int, end: int) -> Any:
    return require("nir").Flatten(input_type={"input": np.array(taken)}, start_dim=start, end_dim=end)


def _scale(place: Place) -> list[Any]:
    options = place.node.options
    if options.get("offset"):
        raise place.refuse(f"it adds {options['offset']:g}, and NIR can only scale")
    return [_scaled(place, options.get("factor", 1.0))]


def _scaled(place: Place, factor: float) -> Any:
    return require("nir").Scale(np.full(place.taken, factor))


_OPERATORS: dict[str, Callable[[Place], list[Any]]] = {
    "linear": _linear,
    "conv1d": lambda place: _convolution(place, 1),
    "conv2d": lambda place: _convolution(place, 2),
    "avg_pool2d": _average,
    "sum_pool2d": _sum,
    "adaptive_avg_pool2d": _adaptive,
    "mean": _mean,
    "flatten": _flatten,
    "reshape": _reshape,
    "scale": _scale,
    "divide": lambda place: [_scaled(place, 1.0 / place.node.options["divisor"])],
    "identity": lambda _: [],
}
