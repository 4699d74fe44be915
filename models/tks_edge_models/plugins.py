"""Networks that installed distributions add: the entry points in `tks_edge.networks`.

    [project.entry-points."tks_edge.networks"]
    blink = "my_package.blink:blink"

The models need torch and nothing else, so this is the little of `tks_edge_runtime.plugins` that they need, with their
own error. Nothing is imported before its name is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tks_edge_models.errors import ModelError

GROUP = "tks_edge.networks"


def names(built_in: Collection[str]) -> tuple[str, ...]:
    """The names that installed plugins add to those that come along, sorted."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}.difference(built_in)))


def load(name: str, built_in: Collection[str]) -> Callable[..., Any]:
    """Import the family of networks that a plugin gives under a name that is among `names`.

    Args:
        name: of the network.
        built_in: the names that come along, which no plugin may claim.

    Raises:
        ModelError: two plugins give the name, one claims a name that comes along, or it cannot be imported.
    """
    found = list(entry_points(group=GROUP))
    for entry in found:
        if entry.name in built_in:
            raise ModelError(
                f"{_distribution(entry)} calls a network {entry.name!r}, the name of one of tks-edge. Uninstall it, or "
                "have it use another name."
            )
    mine = [entry for entry in found if entry.name == name]
    if len(mine) > 1:
        both = " and ".join(sorted(map(_distribution, mine)))
        raise ModelError(f"{both} both give the name {name!r} in {GROUP}. Uninstall one of them.")
    (entry,) = mine
    whose = f"the network {name!r} of {_distribution(entry)}"
    where = f"entry point {name} = {entry.value} in {GROUP}"
    try:
        family = entry.load()
    except Exception as error:  # foreign code: whatever it raises, the user has to learn whose it is
        raise ModelError(
            f"{whose} cannot be imported ({where}): {type(error).__name__}: {error}. Mend or update that plugin."
        ) from error
    if not callable(family):
        raise ModelError(f"{whose} is a {type(family).__name__} ({where}); a function that returns Parts is needed.")
    made: Callable[..., Any] = family
    return made


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unnamed distribution"
