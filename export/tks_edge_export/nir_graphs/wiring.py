"""The nodes of a file in the order of execution, those of graphs in graphs among them, and what each reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tks_edge_export.nir_graphs.errors import NirError


@dataclass(frozen=True)
class Wired:
    """A node, by its name: the path through the graphs that it is in.

    Attributes:
        name: such as "block.conv".
        node: of the library.
        reads: the names of the nodes whose sum comes in.
    """

    name: str
    node: Any
    reads: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.node).__name__


def wired(graph: Any) -> tuple[Wired, tuple[Wired, ...], Wired]:
    """The input, the nodes between in the order of execution, and the output of a `nir.NIRGraph`.

    Raises:
        NirError: it has not one input and one output, it is recurrent, or a node hangs in the air.
    """
    flat = _Flat()
    flat.add(graph, "")
    entry, exit_ = flat.end(graph, "", "Input"), flat.end(graph, "", "Output")
    sources: dict[str, list[str]] = {name: [] for name in flat.nodes}
    for source, target in flat.edges:
        if source in sources[target]:
            raise NirError(f"the edge {source} -> {target} is there twice.")
        sources[target].append(source)
    order = _ordered(sources)
    _check_connected(order, sources, entry, exit_)
    found = {name: Wired(name, flat.nodes[name], tuple(sources[name])) for name in order}
    # The inputs and outputs of inner graphs hand on what they get.
    between = tuple(found[name] for name in order if name not in (entry, exit_))
    return found[entry], between, found[exit_]


class _Flat:
    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, graph: Any, prefix: str) -> None:
        inner = {}
        for name, node in graph.nodes.items():
            path = f"{prefix}{name}"
            if type(node).__name__ == "NIRGraph":
                inner[name] = (self.end(node, f"{path}.", "Input"), self.end(node, f"{path}.", "Output"))
                self.add(node, f"{path}.")
            elif path in self.nodes:
                raise NirError(f"there are two nodes {path!r}.")
            else:
                self.nodes[path] = node
        for source, target in graph.edges:
            given = inner[source][1] if source in inner else f"{prefix}{source}"
            taken = inner[target][0] if target in inner else f"{prefix}{target}"
            self.edges.append((given, taken))

    @staticmethod
    def end(graph: Any, prefix: str, kind: str) -> str:
        """The one input or output of a graph."""
        found = [name for name, node in graph.nodes.items() if type(node).__name__ == kind]
        if len(found) != 1:
            where = f"the graph {prefix[:-1]!r}" if prefix else "the graph"
            raise NirError(f"{where} has {len(found)} nodes {kind} ({', '.join(found[:8]) or '-'}); one is needed.")
        return f"{prefix}{found[0]}"


def _ordered(sources: dict[str, list[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        circle: Sequence[str] = error.args[1]
        raise NirError(
            f"the nodes {' -> '.join(list(circle)[:12])} feed back into themselves. Recurrent connections are not "
            "known here: only a neuron's own state goes from one timestep to the next."
        ) from error


def _check_connected(order: Sequence[str], sources: dict[str, list[str]], entry: str, exit_: str) -> None:
    if sources[entry]:
        raise NirError(f"the input {entry!r} reads {sources[entry][0]!r}.")
    for name in order:
        if name != entry and not sources[name]:
            raise NirError(f"the node {name!r} reads nothing: no edge leads to it.")
    needed, pending = {exit_}, [exit_]
    while pending:
        for source in sources[pending.pop()]:
            if source not in needed:
                needed.add(source)
                pending.append(source)
    if unread := [name for name in order if name not in needed]:
        raise NirError(f"nothing that the network gives depends on the node {unread[0]!r}. Take it out of the file.")
