"""Options of what is trained on, here or elsewhere, for the panel of the help that a command shows them in."""

from __future__ import annotations

from typing import Any

import typer

from tks_edge.commands import completion
from tks_edge.data.facts import FACTS
from tks_edge.settings.frames import CUTS
from tks_edge_runtime.completion import Completer

_RESIZABLE = ", ".join(name for name, facts in FACTS.items() if facts.resizable)


def option(panel: str, text: str, *names: str, values: Completer | None = None) -> Any:
    """An option in a panel of the help.

    Args:
        panel: its title.
        text: what the help says of the option.
        names: of the option; that of its parameter when not given.
        values: what a shell completes it to.
    """
    return typer.Option(*names, help=text, rich_help_panel=panel, autocompletion=values)


def data(panel: str) -> Any:
    """Where the data set lies."""
    return option(panel, "The folder of the data set (default: data/, but none for your own).")


def image_size(panel: str) -> Any:
    """Of data sets that can be had in several sizes."""
    return option(panel, f"Pixels a side, of {_RESIZABLE} (default: by data set).")


def cut(panel: str) -> Any:
    """Of recordings."""
    text = f"What each frame of a recording gets an equal share of: {' or '.join(CUTS)} (default: time)."
    return option(panel, text, values=completion.cut)
