"""Networks that are described as a graph: what was built elsewhere, as data and not as code.

A graph is a list of nodes in the order of execution. Each applies an operator to values of one timestep, `[B, ...]`, by
name: the input, or what an earlier node gives. The modules are called as the nodes are, so that weights keep the names
that they have where the network comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from tks_edge_models.errors import ModelError
from tks_edge_models.graph_operators import NEURONS, OPERATORS, make
from tks_edge_models.layers import PixelNormalize
from tks_edge_models.network import Network, Parts

INPUT = "input"
NAME = "graph"
"""What the specification of such a network calls itself."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: of the value that it gives, and the path of its module.
        operator: a key of `graph_operators.OPERATORS`.
        inputs: names of values.
        options: of the operator.
        module: the path of the module, where that is another: of a stateless one that runs at several places.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    module: str | None = None

    @property
    def path(self) -> str:
        """The path of its module."""
        return self.name if self.module is None else self.module

    @property
    def is_neuron(self) -> bool:
        """Whether it has a state."""
        return self.operator in NEURONS


@dataclass(frozen=True)
class Graph:
    """A network: its nodes in the order of execution, and the name of the value that is the logits `[B, K]`."""

    nodes: tuple[Node, ...]
    output: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Graph:
        """Read what `to_json` gave, checked.

        Raises:
            ModelError: it describes no graph.
        """
        try:
            nodes = tuple(Node(**{**node, "inputs": tuple(node["inputs"])}) for node in document["nodes"])
            graph = cls(nodes, document["output"])
        except (TypeError, KeyError) as error:
            raise ModelError(f"this describes no graph: {error}") from error
        graph.check()
        return graph

    def to_json(self) -> dict[str, Any]:
        """The graph in lists, dictionaries, numbers and words."""
        return {"nodes": [asdict(node) for node in self.nodes], "output": self.output}

    def check(self) -> None:
        """Refuse a graph that cannot run.

        Raises:
            ModelError: names the node.
        """
        known, stateful = {INPUT}, set()
        for node in self.nodes:
            if node.operator not in OPERATORS:
                raise ModelError(f"the node {node.name!r} has the unknown operator {node.operator!r}.")
            expected = OPERATORS[node.operator].inputs
            if not node.inputs or expected not in (None, len(node.inputs)):
                raise ModelError(f"the node {node.name!r} ({node.operator}) has {len(node.inputs)} inputs.")
            if missing := [name for name in node.inputs if name not in known]:
                raise ModelError(f"the node {node.name!r} reads {missing[0]!r}, which no earlier node gives.")
            if node.name in known or node.path in stateful:
                raise ModelError(f"the node {node.name!r} ({node.operator}) is there twice; a neuron runs once a step.")
            known.add(node.name)
            if node.is_neuron:
                stateful.add(node.path)
        if self.output not in known or self.output == INPUT:
            raise ModelError(f"the output {self.output!r} is given by no node.")

    def split(self) -> tuple[tuple[Node, ...], tuple[Node, ...], str]:
        """The nodes before the first neuron that run once on a still image, the others, and the one value between.

        The cut is the last one before the first neuron that a single value crosses.
        """
        first = next((i for i, node in enumerate(self.nodes) if node.is_neuron), len(self.nodes))
        best = (0, INPUT)
        for cut in range(1, min(first, len(self.nodes) - 1) + 1):
            given = {INPUT, *(node.name for node in self.nodes[:cut])}
            crossing = {name for node in self.nodes[cut:] for name in node.inputs if name in given}
            crossing |= {self.output} & given
            if len(crossing) == 1:
                best = (cut, crossing.pop())
        cut, value = best
        return self.nodes[:cut], self.nodes[cut:], value


class GraphPart(nn.Module):
    """A run of nodes over `[T, B, ...]`: stateless ones with T merged into the batch, neurons over T.

    Args:
        modules: by path; those of `nodes` become its own, under their paths.
        nodes: in the order of execution.
        entry: the name of the one value that comes in.
        output: the name of the one that goes out.
    """

    def __init__(self, modules: Mapping[str, nn.Module], nodes: Sequence[Node], entry: str, output: str) -> None:
        super().__init__()
        self._nodes = tuple(nodes)
        self._entry = entry
        self._output = output
        self._last_use = {name: index for index, node in enumerate(nodes) for name in node.inputs}
        for path in dict.fromkeys(node.path for node in nodes):
            _place(self, path, modules[path])

    def forward(self, x: Tensor) -> Tensor:
        """Run the nodes."""
        values = {self._entry: x}
        for index, node in enumerate(self._nodes):
            module = self.get_submodule(node.path)
            inputs = [values[name] for name in node.inputs]
            if node.is_neuron:
                values[node.name] = module(inputs[0])
            else:
                timesteps = max(len(value) for value in inputs)
                merged = module(*(_merged(value, timesteps) for value in inputs))
                values[node.name] = merged.reshape(timesteps, -1, *merged.shape[1:])
            for name in node.inputs:
                if self._last_use[name] == index and name != self._output:
                    values.pop(name, None)
        return values[self._output]


def _merged(value: Tensor, timesteps: int) -> Tensor:
    held = value if len(value) == timesteps else value.expand(timesteps, *value.shape[1:])
    return held.flatten(0, 1)


def _place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Add a module under a path, in containers that are made where there are none."""
    *folders, name = path.split(".")
    for folder in folders:
        if folder not in dict(root.named_children()):
            root.add_module(folder, nn.Module())
        root = root.get_submodule(folder)
    root.add_module(name, module)


def own_path(path: str) -> str | None:
    """What a graph calls the module or the weight at this path of its network; None of one that is not the graph's."""
    part, _, own = path.partition(".")
    return own if part in ("stem", "body") else None


class AsFloat(nn.Module):
    """An input that the network gets as it is, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Cast."""
        return x.float()


def graph_network(
    graph: Graph,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    neuron: str = "lif",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Network:
    """Build the network that a graph describes, with fresh weights.

    Args:
        graph: of one timestep.
        input_shape: of one sample at one timestep, `[C, H, W]` or other.
        num_classes: K.
        neuron: "lif" for its own neurons, or "relu" for the twin: a ReLU in the place of each, one pass.
        mean: per channel of an image, in units of the full pixel range (0..1); None where the input is taken as it is.
        std: likewise.

    Raises:
        ModelError: the graph cannot run, or one of mean and std is missing or of another number of channels.
    """
    graph.check()
    if (mean is None) != (std is None) or (mean is not None and len(input_shape) != 3):
        raise ModelError("give both mean and std, of an image [C, H, W], or neither.")
    if mean is not None and std is not None and not len(mean) == len(std) == input_shape[0]:
        raise ModelError(
            f"mean has {len(mean)} channels, std {len(std)}, and the image {input_shape[0]}; these must be as many."
        )
    spiking = neuron != "relu" and any(node.is_neuron for node in graph.nodes)
    modules: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.path not in modules:
            modules[node.path] = nn.ReLU() if node.is_neuron and not spiking else make(node.operator, node.options)
    stem, body, between = graph.split()
    parts = Parts(GraphPart(modules, stem, INPUT, between), GraphPart(modules, body, between, graph.output))
    normalize = AsFloat() if mean is None or std is None else PixelNormalize(mean, std)
    spec = {
        "name": NAME,
        "neuron": "lif" if spiking else "relu",
        "num_classes": num_classes,
        "in_channels": input_shape[0],
        "image_size": input_shape[-1],
        "input_shape": list(input_shape),
        "mean": None if mean is None else list(mean),
        "std": None if std is None else list(std),
        "graph": graph.to_json(),
    }
    return Network(spec, None, normalize, parts)
