"""What each layer does: its multiply-accumulates, how often its input is not 0, and how often its neurons fire.

Everything is counted on the graph that is shipped, after the comparison with the network has shown that it is the
network spike for spike, and over the samples of that comparison. What a layer reads is looked at in a session of its
own, so that the compared graph is fused as it will be on the device.

    accumulates of a layer that reads spikes = multiply-accumulates x mean |input|

is the customary estimate: it takes the rate for the same everywhere, though the zeros of a padding count as dense, and
a strided layer does not meet every input equally often. Of a product of two computed operands the one with the fewer
spikes is the input: the other is what is added where it fires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from tks_edge_export.cost import multiplies, node_macs
from tks_edge_export.decisions import LayerComparison
from tks_edge_export.layers import reached
from tks_edge_export.lif_steps import is_spikes, spikes_name, state_name
from tks_edge_export.values import Array
from tks_edge_export.watched import DrivenGraph, batches
from tks_edge_runtime.artifact import ANALOGUE, NEURON, SPIKES, WEIGHTS, LayerSpec

_OPERANDS = 2
"""Of a convolution or a matrix product; what comes behind them is a bias."""


@dataclass
class Rate:
    """What the elements of one value were, summed over samples.

    Attributes:
        total: the sum of their absolute values.
        nonzero: how many are not 0.
        count: how many there are.
        whole: whether all are whole numbers.
    """

    total: float = 0.0
    nonzero: float = 0.0
    count: float = 0.0
    whole: bool = True

    def add(self, values: Array, weight: float) -> None:
        """Count these values `weight` times."""
        self.total += weight * float(np.abs(values).sum(dtype=np.float64))
        self.nonzero += weight * float(np.count_nonzero(values))
        self.count += weight * values.size
        self.whole = self.whole and bool((values == np.rint(values)).all())

    @property
    def mean(self) -> float:
        """The mean of the absolute values."""
        return self.total / self.count

    @property
    def share(self) -> float:
        """The share of those that are not 0."""
        return self.nonzero / self.count


@dataclass(frozen=True)
class _Product:
    """One convolution or matrix product of the graph: its layer, its cost, and what it reads that is computed."""

    path: str
    macs: int
    operands: tuple[str, ...]


@dataclass(frozen=True)
class _Counted:
    """A product with what its input was found to be."""

    macs: int
    spikes: bool
    rate: Rate


def layer_specs(
    model: ir.Model,
    paths: Sequence[str],
    neurons: Sequence[LayerComparison],
    inputs: Array,
    timesteps: int,
    *,
    frames: bool = False,
    rest: Mapping[str, float] | None = None,
) -> tuple[LayerSpec, ...]:
    """Say of every layer what it does for one sample, in the order of execution.

    Args:
        model: the graph, of all timesteps or of one; it is not changed.
        paths: of the layers that multiply; see `Compiled.layers`.
        neurons: what the comparison found of the LIF layers.
        inputs: the samples that were compared.
        timesteps: T of the graph, or how many steps a step graph is driven.
        frames: whether every timestep has an input of its own.
        rest: the state that a step graph starts from, by input name.
    """
    model = model.clone()
    graph = model.graph
    _give_inputs_a_node(graph)
    products = list(_products(graph, paths))
    watched = {name for product in products for name in product.operands}
    values = [value for node in graph for value in node.outputs if value.name in watched]
    spiking = _spiking(graph)
    is_step = len(graph.inputs) > 1
    fired = {layer.path: layer.total.fire_rate for layer in neurons}
    outputs = _outputs(graph, paths, fired)
    driven = DrivenGraph(model, values, timesteps, frames=frames, rest=rest)
    rates = measured(driven, sorted(watched), inputs)
    runs, batch = timesteps if is_step else 1, driven.batch_size
    found: dict[str, list[_Counted]] = {}
    for product in products:
        found.setdefault(product.path, []).append(_counted(product, rates, spiking))
    return tuple(
        LayerSpec(path, NEURON, fire_rate=fired[path], outputs=outputs.get(path, ()))
        if path in fired
        else _weights(path, found[path], runs, batch, outputs.get(path, ()))
        for path in _in_order(graph, paths, fired)
    )


def measured(driven: DrivenGraph, names: Sequence[str], inputs: Array) -> dict[str, Rate]:
    """What these values of a graph are over the samples `[M, ...]`, each of which counts once."""
    rates = {name: Rate() for name in names}

    def count(batch: Array, weight: float) -> None:
        values = driven.run(batch)
        for name, rate in rates.items():
            rate.add(values[name].astype(np.float32, copy=False), weight)

    for batch, real in batches(inputs, driven.batch_size):
        count(batch, 1.0)
        filling = len(batch) - real
        if filling:
            # A static batch is filled up with its last sample; what is counted of it too often is taken off again.
            count(np.repeat(batch[-1:], len(batch), axis=0), -filling / len(batch))
    return rates


def _give_inputs_a_node(graph: ir.Graph) -> None:
    """An input that a product reads as it is cannot be an output, but what a node gives can."""
    for value in list(graph.inputs):
        users = [use for use in value.uses() if multiplies(use.node)]
        if users:
            node = ir.Node("", "Identity", [value], name=f"{value.name}.read")
            node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = node.name, value.shape, value.type
            graph.insert_before(graph.node(0), node)
            for use in users:
                use.node.replace_input_with(use.idx, node.outputs[0])


def _products(graph: ir.Graph, paths: Sequence[str]) -> Iterable[_Product]:
    """Every convolution and matrix product of something computed, in the order of execution."""
    computed = set(graph.inputs)
    for node in graph:
        if any(value in computed for value in node.inputs):
            computed |= set(node.outputs)
        path = owner(node, paths) if multiplies(node) else None
        read = [value for value in node.inputs[:_OPERANDS] if value is not None and value in computed]
        if path is not None and read:
            yield _Product(path, node_macs(node), tuple(str(value.name) for value in read))


def owner(node: ir.Node, paths: Iterable[str]) -> str | None:
    """The layer that a node of a graph is part of, as its name says."""
    return _innermost(str(node.name), paths)


def _innermost(name: str, paths: Iterable[str]) -> str | None:
    """The longest of these paths that a name begins with."""
    return max((path for path in paths if name.startswith(f"{path}.")), key=len, default=None)


def _spiking(graph: ir.Graph) -> set[str]:
    """The names of all values that come from LIF neurons."""
    firing = [node for node in graph if any(is_spikes(value.name) for value in node.outputs)]
    behind = {*firing, *reached(firing, lambda node: node.successors())}
    return {str(value.name) for node in behind for value in node.outputs}


def _outputs(graph: ir.Graph, paths: Sequence[str], neurons: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The graph's outputs that a layer's nodes give, by its path; those of a step graph's neurons are their states."""
    found: dict[str, tuple[str, ...]] = {}
    for value in graph.outputs:
        name, node = str(value.name), value.producer()
        path = None if node is None else owner(node, paths)
        if name.startswith(state_name("")):
            path = _innermost(name.removeprefix(state_name("")), neurons)  # It ends with `NEXT_STATE`.
        if path is not None:
            found[path] = (*found.get(path, ()), name)
    return found


def _counted(product: _Product, rates: Mapping[str, Rate], spiking: set[str]) -> _Counted:
    spikes = [rates[name] for name in product.operands if name in spiking and rates[name].whole]
    if spikes:
        return _Counted(product.macs, True, min(spikes, key=lambda rate: rate.mean))
    return _Counted(product.macs, False, rates[product.operands[0]])


def _weights(path: str, products: Sequence[_Counted], runs: int, batch: int, outputs: tuple[str, ...]) -> LayerSpec:
    spikes = all(product.spikes for product in products)
    macs = sum(product.macs for product in products)
    weighed = sum(product.macs * (product.rate.mean if spikes else product.rate.share) for product in products)
    return LayerSpec(
        path, WEIGHTS, macs * runs // batch, SPIKES if spikes else ANALOGUE, weighed / max(1, macs), None, outputs
    )


def _in_order(graph: ir.Graph, paths: Sequence[str], fired: Mapping[str, float]) -> list[str]:
    """The layers in the order in which the graph first multiplies, or has the spikes, for each."""
    spikes = {spikes_name(path): path for path in fired}
    found: list[str | None] = []
    for node in graph:
        found += [owner(node, paths)] if multiplies(node) else []
        found += [spikes.get(str(value.name)) for value in node.outputs]
    return list(dict.fromkeys(path for path in found if path is not None))
