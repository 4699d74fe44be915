"""The help of a command that takes names, with those that installed plugins add."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperOption

from tks_edge_runtime.plugins import BACKENDS, DATASETS, LOSSES, NETWORKS, PASSES, names

_GROUPS = {"model": NETWORKS, "loss": LOSSES, "dataset": DATASETS, "passes": PASSES, "backend": BACKENDS}
"""The group of entry points that adds names to a parameter."""


class ListsPlugins(TyperCommand):
    """A command that looks through what is installed when its help is shown, and not before."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Name the plugins behind the names that come along."""
        for option in self.params:
            added = names(_GROUPS[option.name]) if option.name in _GROUPS else ()
            if added and isinstance(option, TyperOption):
                option.help = f"{option.help} Of plugins: {', '.join(added)}."
        super().format_help(ctx, formatter)
