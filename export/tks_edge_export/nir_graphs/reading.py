"""The way from a file of NIR to a network of ours, to be read from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from tks_edge_export.nir_graphs.discretization import Discretization
from tks_edge_export.nir_graphs.document import load
from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.layers import MadeLayer, layer
from tks_edge_export.nir_graphs.module_names import module_names
from tks_edge_export.nir_graphs.neurons import MadeNeuron, check_known, needed, neuron
from tks_edge_export.nir_graphs.notes import noted
from tks_edge_export.nir_graphs.shapes import input_shape, output_shape
from tks_edge_export.nir_graphs.wiring import Wired, wired
from tks_edge_models import ModelError, Network
from tks_edge_models.graph import INPUT, Graph, Node, graph_network
from tks_edge_models.graph_samples import load_graph_weights


def read_nir(path: Path | str, told: Discretization | None = None) -> Network:
    """Read a network from a file of NIR.

    Args:
        path: the file, as `nir.write` wrote it.
        told: what the file does not say. Where nothing is told, what `write_nir` noted of each neuron counts.

    Returns:
        The network, in evaluation mode; it takes its input as it is, of the shape that the file declares.

    Raises:
        NirError: it is no such file, something of it cannot be kept, or something has to be told; names the node.
        MissingError: the library nir is not installed.
    """
    path, told = Path(path), told or Discretization()
    entry, between, exit_ = wired(load(path))
    layers = {each.name: layer(each) for each in between}
    neurons = _neurons([each for each in between if layers[each.name] is None], told, path)
    graph, weights = _graph(entry, between, exit_, layers, neurons)
    shape = input_shape(entry, between)
    outputs = output_shape(graph, shape)
    if len(outputs) != 1:
        raise NirError(
            f"the network gives values of the shape {list(outputs)} for each sample; one for each class is needed."
        )
    try:
        network = graph_network(graph, shape, outputs[0])
    except ModelError as error:
        raise NirError(f"{path} is no network of ours: {error}") from error
    return load_graph_weights(network, weights)


def _neurons(found: Sequence[Wired], told: Discretization, path: Path) -> dict[str, MadeNeuron]:
    for each in found:
        check_known(each)
    notes = {} if told.told() else {each.name: noted(each) for each in found}
    asked = [each for each in found if notes.get(each.name) is None]
    told.check((need for each in asked for need in needed(each, told)), str(path))
    try:
        return {each.name: notes.get(each.name) or neuron(each, told) for each in found}
    except ModelError as error:
        raise NirError(f"a neuron of {path} is none of ours: {error}") from error


def _graph(
    entry: Wired,
    between: Sequence[Wired],
    exit_: Wired,
    layers: dict[str, MadeLayer | None],
    neurons: dict[str, MadeNeuron],
) -> tuple[Graph, dict[str, Tensor]]:
    """The graph, and its weights by the path of the node's module."""
    names = module_names([each.name for each in between])
    values = {entry.name: INPUT} | names
    taken = set(names.values())
    nodes: list[Node] = []
    weights: dict[str, Tensor] = {}

    def added(wanted: str, operator: str, inputs: tuple[str, ...], options: dict[str, object]) -> str:
        name = wanted
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(Node(name, operator, inputs, options))
        return name

    def summed(each: Wired, name: str) -> str:
        inputs = tuple(values[source] for source in each.reads)
        return inputs[0] if len(inputs) == 1 else added(f"{name}_sum", "add", inputs, {})

    for each in between:
        name, made = names[each.name], layers[each.name]
        read = summed(each, name)
        if made is None:
            spiking = neurons[each.name]
            if spiking.factor != 1.0:
                read = added(f"{name}_scale", "scale", (read,), {"factor": spiking.factor})
            nodes.append(Node(name, spiking.operator, (read,), spiking.options))
        else:
            nodes.append(Node(name, made.operator, (read,), made.options))
            weights |= {f"{name}.{key}": tensor for key, tensor in made.weights.items()}
    output = summed(exit_, "output")
    if output == INPUT:
        raise NirError("the network gives its input as it is: there is no node between input and output.")
    return Graph(tuple(nodes), output), weights
