"""The command line `tks-edge-runtime`: the verbs of a board without torch."""

from __future__ import annotations

from typing import Annotated

import typer

from tks_edge_runtime.command_help import ListsPlugins
from tks_edge_runtime.commands.build import build
from tks_edge_runtime.commands.compare import compare
from tks_edge_runtime.commands.doctor import doctor
from tks_edge_runtime.commands.info import info
from tks_edge_runtime.commands.pick import pick
from tks_edge_runtime.commands.profile import profile
from tks_edge_runtime.commands.report import report
from tks_edge_runtime.commands.run import run
from tks_edge_runtime.commands.self_test import self_test
from tks_edge_runtime.commands.sweep import sweep
from tks_edge_runtime.version import __version__

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


def register(other: typer.Typer) -> None:
    """Add the verbs that need no torch: `build`, `run`, `profile`, `report`, `pick`, `compare` and `doctor`."""
    for command in (build, run, profile, report, pick, compare, doctor):
        other.command(cls=ListsPlugins)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tks-edge-runtime {__version__}")
        raise typer.Exit


@app.callback()
def tks_edge_runtime(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run, measure and report spiking networks exported by tks-edge."""


register(app)
for _command in (sweep, info, self_test):
    app.command(cls=ListsPlugins)(_command)


def main() -> None:
    """Run the command line."""
    app()
