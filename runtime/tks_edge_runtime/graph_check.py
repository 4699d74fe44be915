"""A graph is looked at before a library sees it: whether it is whole and static, and whether there is room to run it.

Libraries crash, hang or take all memory there is on some graphs that are damaged or made to do so. Here is refused what
no exported graph is: a tensor without a static shape in the file, a node that reads what no node before it wrote (so
also a cycle), and a shape that is only known once the graph runs. What the file states about shapes is believed for the
estimate of memory; the backends make their library compare it with the shapes that it infers itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tks_edge_runtime.errors import ArtifactError, MissingError
from tks_edge_runtime.onnx_graph import Graph, Node, Tensor, read_graph

_SHAPING = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
"""Inputs whose values decide the shape of an output; of the operators `Reduce...` the second as well."""

_REDUCTION = re.compile("Reduce[A-Z]")
_DATA_DEPENDENT = ("Compress", "NonMaxSuppression", "NonZero", "Unique")
"""Operators whose output has a shape that depends on what they are given."""


def check_graph(path: Path, room: int | None = None) -> dict[str, tuple[int, ...]]:
    """Refuse a graph that is damaged, none of ours, or too large; the static shape of every tensor, by name.

    Args:
        path: the `.onnx` file.
        room: how many bytes of memory there are for it; None where the graph will not lie in the host's memory.

    Raises:
        ArtifactError: the file is damaged, or its graph is not of the form that `tks-edge export` writes.
        MissingError: it needs more than `room`.
    """
    graph = read_graph(path)
    tensors = {**graph.values, **graph.constants, **graph.inputs, **graph.outputs}
    _check_order(graph, path)
    for node in graph.nodes:
        if reason := _reason(node, graph, tensors):
            raise ArtifactError(f"{path}: the node {node.operator[:80]!r} {reason}. Copy or export it again.")
    for name, tensor in tensors.items():
        if tensor.shape is None:
            raise ArtifactError(f"{path}: {name!r} has no static shape; only static tensors can be run.")
    needed = least_memory(graph, tensors)
    if room is not None and needed > room:
        raise MissingError(
            f"{path} needs at least {needed / 1e9:.1f} GB of memory; {room / 1e9:.1f} GB can be had here. "
            "Close other programs, or export it with a smaller --batch-size."
        )
    return {name: tensor.shape for name, tensor in tensors.items() if tensor.shape is not None}


def _check_order(graph: Graph, path: Path) -> None:
    """Every tensor is written once, before it is read."""
    known = {"", *graph.constants, *graph.inputs}
    for node in graph.nodes:
        lacking = next((name for name in node.inputs if name not in known), None)
        again = next((name for name in node.outputs if name and name in known), None)
        if lacking is not None or again is not None:
            what = f"reads {lacking!r}, which" if lacking is not None else f"writes {again!r}, which"
            how = "nothing before it gives" if lacking is not None else "is there already"
            raise ArtifactError(f"{path}: the node {node.operator[:80]!r} {what} {how}. Copy or export it again.")
        known.update(node.outputs)
    if lacking := next((name for name in graph.outputs if name not in known), None):
        raise ArtifactError(f"{path}: nothing gives the output {lacking!r}. Copy or export it again.")


def _reason(node: Node, graph: Graph, tensors: dict[str, Tensor]) -> str | None:
    """Why a node is not one of a static graph."""
    if node.operator in _DATA_DEPENDENT:
        return "gives a tensor whose shape depends on what it is given"
    shaping = _SHAPING.get(node.operator, (1,) if _REDUCTION.match(node.operator) else ())
    for index in shaping:
        name = node.inputs[index] if index < len(node.inputs) else ""
        if name and name not in graph.constants:
            return f"takes a shape from {name!r}, which is no constant"
    if lacking := next((name for name in node.outputs if name and name not in tensors), None):
        return f"writes {lacking!r}, whose shape the file does not state"
    return None


def least_memory(graph: Graph, tensors: dict[str, Tensor]) -> int:
    """The most bytes that weights and tensors take at one time, each freed behind its last reader."""
    last = {name: index for index, node in enumerate(graph.nodes) for name in (*node.outputs, *node.inputs)}
    last |= dict.fromkeys((*graph.outputs, *graph.inputs), len(graph.nodes))
    held = largest = sum(tensor.bytes for tensor in (*graph.constants.values(), *graph.inputs.values()))
    for index, node in enumerate(graph.nodes):
        held += _bytes(node.outputs, tensors)
        largest = max(largest, held)
        read = {*node.inputs, *node.outputs} - graph.constants.keys()
        held -= _bytes((name for name in read if last[name] == index), tensors)
    return largest


def _bytes(names: Iterable[str], tensors: dict[str, Tensor]) -> int:
    return sum(tensors[name].bytes for name in names if name in tensors)
