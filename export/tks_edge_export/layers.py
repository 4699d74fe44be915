"""The layers with weights of one captured timestep: which module they come from, and what they read."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from tks_edge_export.capture import is_lif
from tks_edge_export.grid import Grid, grids
from tks_edge_export.provenance import folded_into, module_path
from tks_edge_export.values import Array, array_of, integer, is_constant, static_shape

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class Place(enum.Enum):
    """Where a layer stands between the input and the logits."""

    FIRST = "first"
    """No layer with weights and no LIF layer comes before it: it reads the normalised pixels."""
    BETWEEN = "between"
    CLASSIFIER = "classifier"
    """No layer with weights comes after it."""


@dataclass(frozen=True)
class Layer:
    """A node whose second input is a constant weight.

    Attributes:
        node: in the captured graph.
        path: the module that made it; empty where the network itself did, or the tracer does not say.
        norms: modules that were folded into it.
        channel_axis: the axis of the weight that counts output channels.
        grid: of its input, where that has one.
        place: between input and logits.
    """

    node: ir.Node
    path: str
    norms: tuple[str, ...]
    channel_axis: int
    grid: Grid | None
    place: Place

    @property
    def weight(self) -> Array:
        """The weight, as the node holds it."""
        return _array(self.node.inputs[1])

    @property
    def name(self) -> str:
        """The module's path, or the name of the weight where no module below the network made the node."""
        return self.path or str(self.node.inputs[1].name if self.node.inputs[1] is not None else self.node.name)

    @property
    def bias(self) -> Array | None:
        """The bias `[channels]`, where it has one."""
        found = bias_of(self.node)
        return None if found is None else _array(found[0].inputs[found[1]])

    @property
    def output(self) -> ir.Value:
        """What the layer gives, its bias added."""
        found = bias_of(self.node)
        return self.node.outputs[0] if found is None else found[0].outputs[0]


def weighted_layers(graph: ir.Graph) -> Iterator[Layer]:
    """Every layer with weights, in the order of execution."""
    known = grids(graph)
    nodes = [node for node in graph if _is_weighted(node)]
    behind, before = reached([*nodes, *filter(is_lif, graph)], _next), reached(nodes, _previous)
    for node in nodes:
        value = node.inputs[0]
        grid = known.get(value) if value is not None else None
        place = Place.FIRST if node not in behind else Place.BETWEEN if node in before else Place.CLASSIFIER
        yield Layer(node, module_path(node) or "", folded_into(node), channel_axis(node), grid, place)


def bias_of(node: ir.Node) -> tuple[ir.Node, int] | None:
    """The node that adds the bias of the layer `node`, and which of its inputs that is: of a matrix product, another.

    An addition is part of the layer where the same module made it, and nothing else reads the product.
    """
    if node.op_type != "MatMul":
        return (node, 2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    users = [use.node for use in node.outputs[0].uses()]
    if [user.op_type for user in users] != ["Add"] or node.outputs[0].is_graph_output():
        return None
    made_here = module_path(node) and module_path(users[0]) == module_path(node)
    added = [i for i, value in enumerate(users[0].inputs) if is_constant(value) and len(static_shape(value) or ()) == 1]
    return (users[0], added[0]) if made_here and added else None


def nodes_from_the_first_layer_on(graph: ir.Graph) -> set[ir.Node]:
    """Every layer with weights, and everything computed from one."""
    layers = [node for node in graph if _is_weighted(node)]
    return {*layers, *reached(layers, _next)}


def _is_weighted(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type in _WEIGHTED and is_constant(node.inputs[1])


def reached(nodes: Iterable[ir.Node], neighbours: Callable[[ir.Node], Iterable[ir.Node]]) -> set[ir.Node]:
    """Every node that can be reached from one of `nodes` in at least one step."""
    found: set[ir.Node] = set()
    pending = [neighbour for node in nodes for neighbour in neighbours(node)]
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += neighbours(node)
    return found


def _next(node: ir.Node) -> Iterable[ir.Node]:
    return node.successors()


def _previous(node: ir.Node) -> Iterable[ir.Node]:
    return node.predecessors()


def channel_axis(node: ir.Node) -> int:
    """The axis of the weight of a layer that counts its output channels."""
    rank = len(static_shape(node.inputs[1]) or ())
    if node.op_type == "Gemm":
        return 0 if integer(node, "transB") else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}[node.op_type]


def _array(value: ir.Value | None) -> Array:
    array = array_of(value)
    if array is None:
        raise AssertionError("weighted_layers() gives layers with constant weights alone")
    return array
