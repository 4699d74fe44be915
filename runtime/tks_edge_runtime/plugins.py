"""What installed distributions add: networks, losses, data sets, passes and backends, found by their entry points.

    [project.entry-points."tks_edge.losses"]
    focal = "my_package.focal:FOCAL"

The name of an entry point is the name by which it is asked for. What is installed is looked through only where a name
does not come along with tks-edge, or where names are listed; a plugin is imported only when its own name is asked for.
So one that is broken stands in nobody's way. A name that comes along means what comes along, whatever is installed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Generic, TypeVar

from tks_edge_runtime.errors import InputError, PluginError, unknown

NETWORKS, LOSSES, DATASETS, PASSES, BACKENDS = (
    f"tks_edge.{kind}" for kind in ("networks", "losses", "datasets", "passes", "backends")
)
"""The groups of entry points."""

_Kind = TypeVar("_Kind")


def names(group: str) -> tuple[str, ...]:
    """The names that installed plugins add to a group, sorted; nothing is imported."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


def provider(group: str, name: str) -> str | None:
    """The distribution that gives a name of a group, with its version: "tks-edge-example 0.1.0"; None where none does.

    Raises:
        InputError: two distributions do.
    """
    claims = [entry for entry in entry_points(group=group) if entry.name == name]
    if len(claims) > 1:
        both = " and ".join(sorted(map(_distribution, claims)))
        raise InputError(f"{both} both give the name {name!r} in {group}. Uninstall one of them.")
    return _distribution(claims[0]) if claims else None


class Plugins(Generic[_Kind]):
    """What installed distributions add to the names of one kind that come along.

    Args:
        kind: what a name stands for, as a noun ("loss").
        group: of entry points.
        expected: what an entry point must give.
        built_in: the names that come along.
    """

    def __init__(self, kind: str, group: str, expected: type[_Kind], built_in: Collection[str]) -> None:
        self._kind = kind
        self._group = group
        self._expected = expected
        self._built_in = built_in
        self._loaded: dict[str, _Kind] = {}

    def names(self) -> tuple[str, ...]:
        """The names that plugins add, sorted; nothing is imported."""
        return tuple(name for name in names(self._group) if name not in self._built_in)

    def load(self, name: str) -> _Kind:
        """Import what an installed plugin gives under a name that does not come along.

        Raises:
            InputError: no plugin gives it, two do, or one of them claims a name that comes along.
            PluginError: it cannot be imported, or is something else than it has to be.
        """
        if name not in self._loaded:
            self._loaded[name] = self._imported(self._entry(name))
        return self._loaded[name]

    def _entry(self, name: str) -> EntryPoint:
        found = list(entry_points(group=self._group))
        for taken in self._taken(found):
            raise InputError(
                f"{_distribution(taken)} calls a {self._kind} {taken.name!r}, the name of one of {_own()}. Uninstall "
                f"{_distribution(taken)}, or have it use another name."
            )
        if provider(self._group, name) is None:
            raise unknown(self._kind, name, [*self._built_in, *self.names()])
        return next(entry for entry in found if entry.name == name)

    def _taken(self, found: list[EntryPoint]) -> Iterator[EntryPoint]:
        return (entry for entry in found if entry.name in self._built_in)

    def _imported(self, entry: EntryPoint) -> _Kind:
        of_it = f"the {self._kind} {entry.name!r} of {_distribution(entry)}"
        where = f"entry point {entry.name} = {entry.value} in {self._group}"
        try:
            given = entry.load()
        except Exception as error:  # foreign code: whatever it raises, the user has to learn whose it is
            raise PluginError(
                f"{of_it} cannot be imported ({where}): {type(error).__name__}: {error}. Mend or update that plugin."
            ) from error
        if not isinstance(given, self._expected):
            wanted = f"{self._expected.__module__}.{self._expected.__qualname__}"
            raise PluginError(f"{of_it} is a {type(given).__name__} ({where}); a {wanted} is needed.")
        return given


def _distribution(entry: EntryPoint) -> str:
    """The distribution that an entry point is of, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unnamed distribution"


def _own() -> str:
    """The distribution that this is a part of, with its version."""
    found = {one.metadata["Name"]: one.version for one in distributions()}
    name = next((one for one in ("tks-edge", "tks-edge-runtime") if one in found), None)
    return "tks-edge" if name is None else f"{name} {found[name]}"
