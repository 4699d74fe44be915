"""Names of nodes as paths of modules: other names where PyTorch would not take them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from tks_edge_models.graph import INPUT

_TAKEN = nn.Module()


def module_names(names: Iterable[str]) -> dict[str, str]:
    """A path for each name: itself where it can be, so that weights are called as they were.

    A part of a path is not empty and no attribute of a module, and a module is not inside of another layer.
    """
    found: dict[str, str] = {}
    taken: set[str] = {INPUT}
    for name in sorted(names, key=len):
        path = ".".join(_part(part) for part in name.split("."))
        folders = {path.rsplit(".", count)[0] for count in range(1, path.count(".") + 1)}
        if folders & taken or any(other.startswith(f"{path}.") for other in taken):
            path = path.replace(".", "_")
        while path in taken or any(other.startswith(f"{path}.") for other in taken):
            path += "_"
        taken.add(path)
        found[name] = path
    return found


def _part(part: str) -> str:
    while not part or hasattr(_TAKEN, part):
        part += "_"
    return part
