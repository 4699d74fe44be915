"""The command line `tks-edge`: train, evaluate, export and verify here; run, profile and report are the runtime's."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from tks_edge.commands.bundle import bundle
from tks_edge.commands.calibrate_exit import calibrate_exit
from tks_edge.commands.demo import demo
from tks_edge.commands.deploy import deploy
from tks_edge.commands.eval import evaluate
from tks_edge.commands.export import export
from tks_edge.commands.import_ import import_
from tks_edge.commands.info import info
from tks_edge.commands.recipes import recipes
from tks_edge.commands.sweep import sweep
from tks_edge.commands.train import train
from tks_edge.commands.verify import verify
from tks_edge_runtime.cli import register
from tks_edge_runtime.command_help import ListsPlugins
from tks_edge_runtime.version import __version__

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tks-edge {__version__}")
        raise typer.Exit


@app.callback()
def tks_edge(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train a spiking network at many timesteps, ship it at one or two, and see what each costs."""


app.command()(recipes)
app.command(cls=ListsPlugins)(train)
app.command("import")(import_)
app.command("eval")(evaluate)
app.command(cls=ListsPlugins)(export)
app.command()(verify)
app.command(cls=ListsPlugins)(sweep)
app.command(cls=ListsPlugins)(calibrate_exit)
register(app)
app.command()(info)
app.command()(deploy)
app.command()(bundle)
app.command()(demo)


def main() -> None:
    """Run the command line."""
    # A small network passes thousands of short parallel regions a second. Threads that spin at the end of each (the
    # default) bring a training to a crawl when another process shares the cores; OpenMP reads this when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The exporter compares with ONNX Runtime, which from 1.32 on reads this when it loads, and may report home without.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    app()
