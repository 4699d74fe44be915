"""Which module of the network a captured node comes from, and the names that say so in the graph.

A node of the module at `body.1.0` is called `body.1.0.conv2d_1`, as are the values that it gives. Names are all that an
engine's profiler knows of a node, and all of its origin that is written.
"""

from __future__ import annotations

import ast
import re

import onnx_ir as ir
from torch import nn

from tks_edge_export.cost import multiplies
from tks_edge_export.values import is_constant

_SCOPES = "pkg.torch.onnx.name_scopes"
_FOLDED = "tks_edge.folded"
_LAYER = "tks_edge.layer"
_SLICE = re.compile(r"slice\((\S+), (\S+), (\S+)\)")
"""How the tracer writes the step of a path that is a part of a list of modules."""


def module_path(node: ir.Node) -> str | None:
    """The path of the module whose `forward` made this node, as the tracer recorded it; None where it did not."""
    names = _scopes(node)
    return names[-2] if len(names) > 1 else None


def _scopes(node: ir.Node) -> list[str]:
    """The paths of the modules around a node, the network's first, and its own name."""
    return [str(name) for name in ast.literal_eval(node.metadata_props.get(_SCOPES) or "[]")]


def folded_into(node: ir.Node) -> tuple[str, ...]:
    """The paths of the modules that passes have folded into this node."""
    return tuple(filter(None, node.metadata_props.get(_FOLDED, "").split(" ")))


def note_folded(node: ir.Node, folded: ir.Node) -> None:
    """Record that `folded` went into `node`."""
    node.metadata_props[_FOLDED] = " ".join((*folded_into(node), module_path(folded) or ""))


def give_each_module_one_path(graph: ir.Graph, network: nn.Module) -> None:
    """Let every captured node have the first path of its module in `network`, the one in `named_modules`.

    As soon as a network holds some module under two names, the tracer records how each module was reached: by either
    name, or through a part of a list, as in `layers[1:]`. Then a path no longer says whether two nodes share weights.
    """
    first = {module: path for path, module in network.named_modules()}
    for node in graph:
        names = _scopes(node)
        module = _reached(network, names[-2]) if len(names) > 1 else None
        if module in first:
            names[-2] = first[module]
            node.metadata_props[_SCOPES] = repr(names)


def _reached(network: nn.Module, path: str) -> nn.Module | None:
    """The module at a path that the tracer recorded."""
    module: nn.Module | None = network
    for step in path.split(".") if path else ():
        part = _SLICE.fullmatch(step)
        if part and isinstance(module, (nn.Sequential, nn.ModuleList)):
            module = module[slice(*map(ast.literal_eval, part.groups()))]
        else:
            module = getattr(module, step, None)
    return module


def name_after_modules(graph: ir.Graph) -> None:
    """Put the path of its module before the name of every captured node, and of what it gives.

    A convolution or matrix product that the network itself makes, below no module, goes by its weight or, of two
    computed operands, by its own name.
    """
    taken = {str(value.name) for value in (*graph.inputs, *graph.initializers.values(), *graph.outputs)}
    for node in graph:
        scope = module_path(node) or (_own_name(node) if multiplies(node) else "")
        if not scope:
            continue
        if multiplies(node):
            node.metadata_props[_LAYER] = scope
        for value in node.outputs:
            name = f"{scope}.{value.name}"
            while name in taken:
                name += "_"
            taken.add(name)
            value.name = name
        node.name = node.outputs[0].name


def layer_path(node: ir.Node) -> str | None:
    """The layer that a captured convolution or matrix product is, as `name_after_modules` called it."""
    return node.metadata_props.get(_LAYER)


def _own_name(node: ir.Node) -> str:
    weight = node.inputs[1]
    named = weight is not None and is_constant(weight)
    return str(weight.name if named and weight is not None else node.outputs[0].name)
