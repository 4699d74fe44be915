"""Which layers int8 covers, and why each of the others stays in float."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from torch import nn

from tks_edge_export.errors import ExportError
from tks_edge_export.layers import Layer, Place, weighted_layers
from tks_edge_export.options import Options
from tks_edge_export.provenance import module_path
from tks_edge_export.quantization import fits
from tks_edge_export.reference import holds_weights
from tks_edge_export.values import is_constant

_AT_THE_ENDS = {Place.FIRST: "it is the first layer", Place.CLASSIFIER: "it is the classifier"}


@dataclass(frozen=True)
class Coverage:
    """What int8 makes of the layers of one captured timestep.

    Attributes:
        layers: those whose weights are rounded.
        kept_float: the names of the others, but for the first layer and the classifier where these are float anyway.
    """

    layers: tuple[Layer, ...]
    kept_float: tuple[str, ...]


def read_elsewhere(network: nn.Module, graph: ir.Graph) -> frozenset[str]:
    """The linear and convolution modules whose weight or bias something else computes with too, as `F.linear` would.

    Such a module cannot be given other weights without changing what that computes. Of a weight that two modules share,
    each has a copy of its own in the reference.

    Args:
        network: the trained one.
        graph: one timestep of it as it was captured: passes give each layer constants of its own.
    """
    readers = [[module_path(use.node) or "" for use in value.uses()] for value in graph.initializers.values()]
    return frozenset(
        path
        for paths in readers
        if not all(holds_weights(network, reader) for reader in paths)
        for path in paths
        if holds_weights(network, path)
    )


def coverage(network: nn.Module, graph: ir.Graph, options: Options, shared: Set[str] = frozenset()) -> Coverage:
    """Decide which layers int8 covers.

    These are the ones between spikes, whose inputs 8 bits hold exactly; of a network without spikes, the ones between
    the first layer and the classifier; and, with `quantize_ends`, all whose weights are those of a module.

    Args:
        network: the trained one.
        graph: one captured timestep of it.
        options: what is asked for.
        shared: what `read_elsewhere` found.

    Raises:
        ExportError: no layer is left, a layer's input can be larger than 8 bits hold, its weights are not finite, or a
            path in `keep_float` is none of the layers, or one that is in float anyway.
    """
    layers = list(weighted_layers(graph))
    others = _products_of_others(graph, layers)
    _check_kept(layers, others, options)
    norms = {path for node in graph if node.op_type == "BatchNormalization" and (path := module_path(node))}
    reasons = [_refusal(layer, layers, norms, shared, network, options) for layer in layers]
    covered = tuple(layer for layer, reason in zip(layers, reasons, strict=True) if reason is None)
    if not covered:
        raise ExportError(_nothing(layers, reasons))
    for layer in covered:
        _check(layer, options.lowering.spikes)
    ends = set(_AT_THE_ENDS.values())
    kept = [layer.name for layer, reason in zip(layers, reasons, strict=True) if reason not in (None, *ends)]
    return Coverage(covered, tuple(dict.fromkeys([*kept, *others])))


def _refusal(
    layer: Layer, layers: Sequence[Layer], norms: Set[str], shared: Set[str], network: nn.Module, options: Options
) -> str | None:
    """Why a layer stays in float, or None when int8 covers it; `norms` are those that could not be folded."""
    if layer.name in options.keep_float:
        return "it was asked to stay"
    if not options.quantize_ends and layer.place in _AT_THE_ENDS:
        return _AT_THE_ENDS[layer.place]
    if not layer.path or not holds_weights(network, layer.path):
        return "its weights are not those of a linear or convolution module"
    if layer.path in shared:
        return "something else computes with its weights too"
    if not all(isinstance(network.get_submodule(norm), nn.modules.batchnorm._BatchNorm) for norm in layer.norms):
        return "its batch norm is not a module"
    if not all(_alike(layer, other) for other in layers if other.path == layer.path):
        return "its module runs in several places that would round it differently"
    if layer.grid is None and not options.quantize_ends and any(other.grid is not None for other in layers):
        return "its input is no spikes, nor a sum or a mean of spikes"
    if norms & {*layer.norms}:
        return "its batch norm is that of another place too"
    return None


def _products_of_others(graph: ir.Graph, layers: Sequence[Layer]) -> list[str]:
    """The names of products with constants that are no layers: of an einsum, or with the constant in front."""
    nodes = {layer.node for layer in layers}
    others = [node for node in graph if node.op_type in ("Einsum", "Gemm", "MatMul") and node not in nodes]
    constants = [(node, [str(v.name) for v in node.inputs if v is not None and is_constant(v)]) for node in others]
    return [module_path(node) or names[0] for node, names in constants if names]


def _alike(one: Layer, other: Layer) -> bool:
    """Whether two runs of one module are rounded to the same weights, and stand at the same place."""
    if one is other:
        return True
    bias, others = (np.zeros(0) if layer.bias is None else layer.bias for layer in (one, other))
    return (
        (one.norms, one.grid, one.place) == (other.norms, other.grid, other.place)
        and np.array_equal(one.weight, other.weight)
        and np.array_equal(bias, others)
    )


def _check_kept(layers: Sequence[Layer], others: Sequence[str], options: Options) -> None:
    """Refuse names of layers that do not exist, and of the ends where these are float without being asked to."""
    for name in [name for name in options.keep_float if name not in others]:
        places = {layer.place for layer in layers if layer.name == name}
        if not places:
            names = ", ".join(dict.fromkeys(layer.name for layer in layers))
            raise ExportError(f"{name!r} is no layer with weights. There are: {names}.")
        if not options.quantize_ends and places <= _AT_THE_ENDS.keys():
            reason = _AT_THE_ENDS[next(iter(places))]
            raise ExportError(
                f"--keep-float {name} changes nothing: {reason}, which int8 leaves in float without --quantize-ends."
            )


def _nothing(layers: Sequence[Layer], reasons: Sequence[str | None]) -> str:
    why = "; ".join(dict.fromkeys(f"{layer.name}: {reason}" for layer, reason in zip(layers, reasons, strict=True)))
    return (
        f"int8 would leave every layer in float ({why or 'there is no layer with weights'}). Use another precision, or "
        "cover the first layer, the classifier and what does not read spikes too, calibrated: --quantize-ends."
    )


def _check(layer: Layer, dtype: str) -> None:
    """Refuse a sum of spikes that overflows the integers, and weights that are no numbers."""
    grid, limits = layer.grid, np.iinfo(dtype)
    if not all(np.isfinite(array).all() for array in (layer.weight, layer.bias) if array is not None):
        raise ExportError(
            f"the weights of {layer.path} hold values that are no finite numbers; train the network again."
        )
    if layer.place is Place.BETWEEN and grid is not None and not fits(grid, dtype):
        raise ExportError(
            f"the input of {layer.path} can be {grid.low} to {grid.high} times {grid.step}; {dtype} holds {limits.min} "
            f"to {limits.max}. Leave the layer in float: --keep-float {layer.path}"
        )
