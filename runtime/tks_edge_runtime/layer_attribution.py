"""Which layer of a network a node of an engine belongs to: the exporter names nodes after their module's path."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tks_edge_runtime.backends import NodeTime
from tks_edge_runtime.manifest import WEIGHTS, LayerSpec


class Attribution:
    """Finds the layers of a manifest in what engines call their nodes.

    An engine puts words before and behind the names of the file's nodes, and joins those of nodes that it fuses:
    `body.1.0.conv2d_nchwc`, `body.1.0.conv2d + PWN(body.2.t0.h)`, `{ForeignNode[body.2.t0.h...body.4.t0.h]}`.

    Args:
        layers: those of the manifest.
    """

    def __init__(self, layers: Sequence[LayerSpec]) -> None:
        self._kinds = {layer.path: layer.kind for layer in layers}
        self._of_output = {name: layer.path for layer in layers for name in layer.outputs}
        # The longest first: body.1.0.query is part of body.1.0, and a layer of its own.
        paths, outputs = (_any_of(names) for names in (self._kinds, self._of_output))
        self._names = re.compile(rf"(?:(?<![\w.])|(?<=\.\.\.))(?:({paths})(?=\.)|({outputs})(?![A-Za-z0-9.]))")

    def covered(self, node: NodeTime) -> tuple[str, ...]:
        """The paths of the layers that a node of an engine computes, in the order in which they are named."""
        for text in (" ".join(node.made_of), node.name):
            found = (path or self._of_output[output] for path, output in self._names.findall(text))
            if paths := tuple(dict.fromkeys(found)):
                return paths
        return ()

    def owner(self, covered: Sequence[str]) -> str | None:
        """The one of these layers that gets the node's time: the first that has weights, else the first."""
        weighted = [path for path in covered if self._kinds[path] == WEIGHTS]
        return next(iter((*weighted, *covered)), None)


def _any_of(names: Sequence[str] | dict[str, str]) -> str:
    """A pattern for any of these names; for none of them, one that nothing matches."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)"
