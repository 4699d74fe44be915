"""Weights of 8 bits: what becomes of each layer that gets them.

Every output channel has a scale of its own, a power of two,

    a w = 2^k q,   q whole, |q| <= L,   k the least with |w| <= L x 2^k in that channel

and the bias is rounded to a grid so fine that it hardly changes. `a`, from 1 to 2, is what makes the largest |q| of the
channel L where a neuron can measure its potential in that unit (`passes.channel_units`), and 1 elsewhere. Because 2^k
is a power of two, every product of a weight with a spike, and every partial sum of them, is a whole multiple of 2^k
below 2^24 of them: a float32 holds it without rounding. So the membrane current comes out the same to the bit in
integers, in float32, in any order of summation, in every engine and in PyTorch. A scale that is free would give this
up; only where the input is rounded, and nothing is exact anyway, the scale is free, and each channel fills L.

L is 127 where the input is spikes. x86-64 processors without VNNI add two neighbouring products of 8 bits in 16, and
cut the sum off there (VPMADDUBSW; they hold signed activations as unsigned ones, 128 higher). So that no such pair
overflows, L is less for larger inputs: 64 for those that use all 8 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tks_edge_export.codes import Calibration
from tks_edge_export.grid import Grid
from tks_edge_export.layers import Layer, bias_of
from tks_edge_export.targets import Target
from tks_edge_export.values import Array, shared_constant

INT8 = "int8"
"""Under this key an initializer's `meta` holds its `Int8Weight`."""
BIAS_OF = "bias_of"
"""Under this key the `meta` of a bias that was rounded holds the path of its layer."""
_LARGEST = 127
_PAIR = np.iinfo(np.int16).max
"""The largest sum of two products that every processor holds."""
_CODES = 255
"""The largest code of an input that is rounded, unsigned or made so."""
_SMALLEST = 2.0**-100
"""Channels whose weights are all smaller become 0: the scale must be a float32 that is not."""
_EXACT = 24
"""Bits of a float32's significand: whole numbers up to 2^24 are exact."""
_RESERVE = 4
"""Bits that the bias leaves free, so that a few halvings of the membrane are exact too."""


@dataclass(frozen=True)
class Int8Weight:
    """The weight of the layer at `path` as `codes * scale`, with one scale for each entry of `axis`.

    `bias` holds the layer's bias in units of an integer accumulator, `unit`, where it is a whole multiple of these.
    """

    path: str
    codes: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    axis: int
    bias: npt.NDArray[np.int32] | None
    unit: npt.NDArray[np.float32]


@dataclass(frozen=True)
class RoundedLayer:
    """What a layer of the network became.

    Attributes:
        path: of its module.
        norms: modules that are part of it now.
        weight: in the shape of the module's own parameter, float32.
        bias: `[channels]`, float32, or None.
        exact: whether its output is the same to the bit in any order of summation.
        units: what its output is multiplied by, `[channels]`, float64; None where it is not.
    """

    path: str
    norms: tuple[str, ...]
    weight: Array
    bias: Array | None
    exact: bool
    units: Array | None = None


def fits(grid: Grid | None, dtype: str) -> bool:
    """Whether 8 bits of this type hold every multiple."""
    limits = np.iinfo(dtype)
    return grid is not None and bool(limits.min <= grid.low and grid.high <= limits.max)


def quantize_weights(
    graph: ir.Graph,
    layers: Sequence[Layer],
    calibration: Calibration,
    target: Target,
    *,
    in_units: Collection[str] = (),
) -> tuple[RoundedLayer, ...]:
    """Round the weights of `layers`, in place.

    Args:
        graph: one captured timestep.
        layers: of it.
        calibration: its `inputs` name the layers whose input is rounded too.
        target: what the weights are for. Where it holds membranes as codes, biases become multiples of what one
            product counts, as an integer accumulator needs them.
        in_units: the paths of layers whose channels may be multiplied.
    """
    limits: dict[str, int] = {}
    for layer in layers:  # a module that runs at several places has one weight
        limits[layer.path] = min(limits.get(layer.path, _LARGEST), _limit(layer, calibration, target))
    return tuple(
        _quantize(
            graph,
            layer,
            calibration,
            limits[layer.path],
            whole_biases=target.codes_currents,
            in_units=layer.path in in_units,
        )
        for layer in layers
    )


def _limit(layer: Layer, calibration: Calibration, target: Target) -> int:
    """The largest |q| with which two products fit into 16 bits, whatever the input."""
    if layer.path in calibration.inputs or layer.grid is None:
        return min(_LARGEST, _PAIR // (2 * _CODES))
    shift = 128 if target.spikes == "int8" else 0
    return min(_LARGEST, _PAIR // (2 * max(layer.grid.high + shift, 1)))


def _quantize(
    graph: ir.Graph, layer: Layer, calibration: Calibration, limit: int, *, whole_biases: bool, in_units: bool
) -> RoundedLayer:
    axis = layer.channel_axis
    grid = None if layer.path in calibration.inputs else layer.grid
    weight = np.moveaxis(layer.weight.astype(np.float64), axis, 0)
    flat = weight.reshape(len(weight), -1)
    scale, units = _scales(np.abs(flat).max(axis=1), limit, free=grid is None)
    multiplied = flat * units[:, None] if in_units else flat
    codes = np.rint(multiplied / scale[:, None])
    # The groups of a transposed convolution share the channels of its weight, each with biases of its own.
    biases = None if layer.bias is None else layer.bias.astype(np.float64).reshape(-1, len(scale))
    if biases is not None and in_units:
        biases = biases * units
    # A matrix product has its bias added behind it, where no integer accumulator asks for whole multiples.
    whole_biases = whole_biases and layer.node.op_type != "MatMul"
    unit = scale * (calibration.inputs[layer.path].scale if grid is None else float(grid.step))
    step = unit if whole_biases or grid is None else _fine_step(biases, grid, codes, unit)
    bias = None if biases is None else np.rint(biases / step)
    encoded = Int8Weight(
        layer.path,
        np.moveaxis(codes.reshape(weight.shape).astype(np.int8), 0, axis),
        scale.astype(np.float32),
        axis,
        None if bias is None or not whole_biases else bias.reshape(-1).astype(np.int32),
        np.tile(unit, 1 if bias is None else len(bias)).astype(np.float32),
    )
    rounded = np.moveaxis((codes * scale[:, None]).reshape(weight.shape), 0, axis).astype(np.float32)
    as_float = None if bias is None else (bias * step).reshape(-1).astype(np.float32)
    _replace(graph, layer, rounded, as_float, encoded)
    exact = grid is not None and _is_exact(grid, codes, unit, bias, step)
    return as_module(layer, exact=exact, units=units if in_units else None)


def _scales(largest: Array, limit: int, *, free: bool) -> tuple[Array, Array]:
    """What one code of each channel counts, and the `a` that makes its largest weight `limit` codes; float64."""
    held = np.maximum(largest, _SMALLEST)
    scale = np.where(largest > 0, held / limit, 1.0)
    # What is shipped is a float32.
    scale = scale.astype(np.float32).astype(np.float64) if free else np.exp2(np.ceil(np.log2(scale)))
    return scale, np.where(largest > _SMALLEST, limit * scale / held, 1.0)


def as_module(layer: Layer, *, exact: bool = False, units: Array | None = None) -> RoundedLayer:
    """The layer with the constants that its node holds now, in the shapes of its module's parameters."""
    weight, bias = layer.weight.astype(np.float32), layer.bias
    # A matrix product holds the weight of a linear module transposed.
    if layer.node.op_type in ("Gemm", "MatMul") and layer.channel_axis == weight.ndim - 1:
        weight = weight.T
    as_float = None if bias is None else bias.astype(np.float32)
    return RoundedLayer(layer.path, layer.norms, weight, as_float, exact, units)


def _fine_step(biases: Array | None, grid: Grid, codes: Array, unit: Array) -> Array:
    """A step for the bias of each channel, so fine that it hardly changes, and on which all sums are still exact."""
    bias = 0.0 if biases is None else np.abs(biases).max(axis=0)
    bound = np.abs(codes).sum(axis=1) * _largest(grid) * unit + bias
    finest = np.exp2(np.ceil(np.log2(np.maximum(bound, unit))) - (_EXACT - _RESERVE))
    step: Array = np.minimum(unit, finest)
    return step


def _is_exact(grid: Grid, codes: Array, unit: Array, bias: Array | None, step: Array) -> bool:
    """Whether every partial sum is a whole multiple of `step` that a float32 holds."""
    steps = np.abs(codes).sum(axis=1) * _largest(grid) * unit / step + (
        0.0 if bias is None else np.abs(bias).max(axis=0)
    )
    return grid.is_dyadic and bool((steps <= 2**_EXACT).all())


def _largest(grid: Grid) -> int:
    return max(abs(grid.low), abs(grid.high))


def _replace(graph: ir.Graph, layer: Layer, weight: Array, bias: Array | None, encoded: Int8Weight) -> None:
    # A module that runs several times has the same weights at each place.
    value = shared_constant(graph, f"{layer.path}.weight.rounded", weight)
    value.meta[INT8] = encoded
    place = bias_of(layer.node)
    layer.node.replace_input_with(1, value)
    if bias is not None and place is not None:
        value = shared_constant(graph, f"{layer.path}.bias.rounded", bias)
        value.meta[BIAS_OF] = layer.path
        place[0].replace_input_with(place[1], value)
