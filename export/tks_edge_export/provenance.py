"""Which module of the network a captured node comes from."""

from __future__ import annotations

import ast

import onnx_ir as ir

_SCOPES = "pkg.torch.onnx.name_scopes"
_FOLDED = "tks_edge.folded"


def module_path(node: ir.Node) -> str | None:
    """The path of the module whose `forward` made this node, as the tracer recorded it; None where it did not."""
    scopes = node.metadata_props.get(_SCOPES)
    names = ast.literal_eval(scopes) if scopes else []
    return str(names[-2]) if len(names) > 1 else None


def folded_into(node: ir.Node) -> tuple[str, ...]:
    """The paths of the modules that passes have folded into this node."""
    return tuple(filter(None, node.metadata_props.get(_FOLDED, "").split(" ")))


def inherit(node: ir.Node, origin: ir.Node, folded: ir.Node) -> None:
    """Record that `node` stands for `origin`, into which `folded` went."""
    node.metadata_props.update(origin.metadata_props)
    node.metadata_props[_FOLDED] = " ".join((*folded_into(origin), module_path(folded) or ""))
