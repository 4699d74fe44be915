"""What shape a sample has at each node, found out without room in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.values import refuse
from tks_edge_export.nir_graphs.wiring import Wired
from tks_edge_models import ModelError
from tks_edge_models.graph import INPUT, Graph
from tks_edge_models.graph_operators import make

_MOST_VALUES = 1 << 31
"""Of one sample at one node."""
_AXES = {"Affine": 1, "Linear": 1, "Conv1d": 2, "Conv2d": 3}
"""Of a sample, as these nodes take it."""


def input_shape(entry: Wired, between: Sequence[Wired]) -> tuple[int, ...]:
    """The shape of one sample, by the file's input.

    Libraries that were shown a batch of one sample declare that, too; what reads the input tells it apart.

    Raises:
        NirError: the file does not say it.
    """
    declared = (entry.node.input_type or {}).get("input")
    values = np.asarray(declared if declared is not None else [])
    if not values.size or values.ndim != 1 or values.dtype.kind not in "iu" or int(values.min()) < 1:
        raise refuse(entry, f"its shape is {declared!r}, and the sizes of one sample are needed")
    shape = tuple(int(size) for size in values)
    if math.prod(shape) > _MOST_VALUES:
        raise refuse(entry, f"its shape is {list(shape)}, more values than fit into a memory")
    readers = [_AXES.get(each.kind) for each in between if entry.name in each.reads]
    has_batch = shape[0] == 1 and len(shape) - 1 in readers
    return shape[1:] if has_batch else shape


def shapes(graph: Graph, shape: Sequence[int]) -> Mapping[str, tuple[int, ...]]:
    """The shape of one sample at each node of a graph, by the node's name.

    Raises:
        NirError: a node does not take what it gets; names it.
    """
    values = {INPUT: torch.empty(1, *shape, device="meta")}
    with torch.no_grad(), torch.device("meta"):
        for node in graph.nodes:
            inputs = [values[name] for name in node.inputs]
            got = " and ".join(str(list(value.shape[1:])) for value in inputs)
            try:
                given = inputs[0] if node.is_neuron else make(node.operator, node.options)(*inputs)
            except (ModelError, RuntimeError, ValueError, IndexError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise NirError(f"the node {node.name!r} ({node.operator}) does not take {got}: {reason}") from error
            if given.shape[0] != 1 or given.numel() > _MOST_VALUES or not given.numel():
                raise NirError(
                    f"the node {node.name!r} ({node.operator}) makes {list(given.shape)} of a sample {got}, which is "
                    "no sample any more, or more than fits into a memory."
                )
            values[node.name] = given
    return {name: tuple(value.shape[1:]) for name, value in values.items()}


def output_shape(graph: Graph, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of what a graph gives for one sample."""
    return shapes(graph, shape)[graph.output]
