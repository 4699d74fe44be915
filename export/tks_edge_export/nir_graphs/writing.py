"""The way from a network of ours to a file of NIR, to be read from top to bottom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tks_edge_export.adoption.own import described
from tks_edge_export.nir_graphs.checking import SpikeAgreement, compare
from tks_edge_export.nir_graphs.discretization import Discretization
from tks_edge_export.nir_graphs.equations import equation
from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.nir_library import require
from tks_edge_export.nir_graphs.norms import fold
from tks_edge_export.nir_graphs.notes import KEY, note
from tks_edge_export.nir_graphs.reading import read_nir
from tks_edge_export.nir_graphs.shapes import shapes
from tks_edge_export.nir_graphs.written_layers import Place, layer_nodes
from tks_edge_models import Network
from tks_edge_models.graph import INPUT, Graph, Node
from tks_edge_runtime.files import replacing

DT = 1e-4
"""Seconds that a timestep stands for, as snnTorch and SpikingJelly write it."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        nodes: how many nodes, input and output included.
        norms: how many batch norms were folded into layers.
        told: what has to be told to read the neurons again where the metadata are lost; None where one answer does not
            fit all of them.
        agreement: of the file, read again, with the network.
    """

    nodes: int
    norms: int
    told: Discretization | None
    agreement: SpikeAgreement


def write_nir(network: Network, path: Path | str, frames: Tensor, *, dt: float = DT) -> Written:
    """Write a spiking network to a file of NIR, and compare what can be read from it with the network.

    The file takes the input as it is after the network's normalisation, which NIR has no node for.

    Args:
        network: in evaluation mode, on the CPU.
        path: the file; written whole or not at all.
        frames: raw samples `[T, B, ...]` that the file and the network are compared on.
        dt: seconds that a timestep is to stand for.

    Raises:
        NirError: NIR has no node for something; names it.
        AdoptionError: likewise.
        VerificationError: what is read from the file fires other spikes.
        MissingError: the library nir is not installed.
    """
    nir = require("nir")
    if not network.is_spiking:
        raise NirError("the network has no neurons; NIR describes networks that spike.")
    Discretization(dt=dt)  # which checks it
    plain = described(network)
    folded = fold(plain.graph, plain.weights)
    written = _Nodes(folded.graph, folded.weights, network.input_shape, dt)
    document = json.dumps({"mean": network.spec["mean"], "std": network.spec["std"], "dt": dt})
    graph = nir.NIRGraph(nodes=written.nodes, edges=written.edges, metadata={KEY: document})
    with replacing(Path(path)) as temporary:
        nir.write(temporary, graph)
        agreement = compare(network, plain, read_nir(temporary), frames, is_folded=folded.norms > 0)
    return Written(len(written.nodes), folded.norms, _together(written.told), agreement)


def _together(told: Sequence[Discretization]) -> Discretization | None:
    """One answer for all neurons, where there is one."""
    answers: dict[str, Any] = {}
    for each in told:
        for name in each.told():
            value = getattr(each, name)
            if answers.setdefault(name, value) != value:
                return None
    return Discretization(**answers)


class _Nodes:
    """The nodes and edges of a graph."""

    def __init__(self, graph: Graph, weights: Mapping[str, Tensor], shape: tuple[int, ...], dt: float) -> None:
        nir = require("nir")
        self._dt = dt
        self._weights = weights
        self._shapes = shapes(graph, shape)
        self.told: list[Discretization] = []
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        names = {node.name for node in graph.nodes}
        entry, exit_ = _free("input", names), _free("output", names)
        self.nodes[entry] = nir.Input(input_type={"input": np.array(shape)})
        self._values: dict[str, tuple[str, ...]] = {INPUT: (entry,)}
        for node in graph.nodes:
            self._add(node)
        self.nodes[exit_] = nir.Output(output_type={"output": np.array(self._shapes[graph.output])})
        self._connect(self._values[graph.output], exit_)

    def _add(self, node: Node) -> None:
        # What comes into a node of NIR is the sum of its edges: an addition is edges alone.
        sources = tuple(source for name in node.inputs for source in self._values[name])
        if node.operator == "add":
            if len({self._shapes[name] for name in node.inputs}) > 1:
                raise NirError(f"the node {node.name!r} (add) adds values of several shapes, which edges cannot.")
            self._values[node.name] = sources
            return
        if len(node.inputs) > 1:
            raise NirError(
                f"the node {node.name!r} ({node.operator}) cannot be written as NIR: there is no node for it."
            )
        for made in self._made(node):
            name = _free(node.name.replace("/", "_"), set(self.nodes))
            self.nodes[name] = made
            self._connect(sources, name)
            sources = (name,)
        self._values[node.name] = sources

    def _made(self, node: Node) -> list[Any]:
        taken, given = self._shapes[node.inputs[0]], self._shapes[node.name]
        if not node.is_neuron:
            prefix = f"{node.path}."
            own = {
                name.removeprefix(prefix): tensor for name, tensor in self._weights.items() if name.startswith(prefix)
            }
            return layer_nodes(Place(node, taken, given, own))
        found = equation(node.name, node.operator, node.options, self._dt)
        self.told.append(found.how)
        constants = {name: np.full(taken, value) for name, value in found.constants.items()}
        made = getattr(require("nir"), found.kind)(**constants, metadata=note(node.operator, node.options, self._dt))
        return [made]

    def _connect(self, sources: Sequence[str], target: str) -> None:
        if len(set(sources)) < len(sources):
            raise NirError(f"the node {target!r} gets one value twice, which edges of NIR cannot say.")
        self.edges += [(source, target) for source in sources]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
