"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge.commands import completion

RunArgument = Annotated[
    Path | None, typer.Argument(help="A run directory. (default: the newest in runs/)", autocompletion=completion.run)
]
TimestepsOption = Annotated[
    str | None,
    typer.Option(help="Such as 1,2,4,8 or 1-8. (default: the powers of two up to the T it was trained at)"),
]
FramesOption = Annotated[
    str | None,
    typer.Option(
        help="Of recordings, what fewer frames than the training's are: first or rebin (all of it in fewer). "
        "(default: the training's)",
        autocompletion=completion.frames,
    ),
]
SkipCorruptOption = Annotated[
    bool, typer.Option("--skip-corrupt", help="Leave out samples that cannot be read; they are counted and named.")
]
DataOption = Annotated[Path | None, typer.Option(help="Where the data set lies now, if it was moved.")]


def given(context: typer.Context) -> list[str]:
    """The names of the arguments and options that stand on the command line."""
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    return [name for name, source in sources if source is not None and source.name == "COMMANDLINE"]
