"""The command line `tks-edge-runtime`: the verbs of a board without torch."""

from __future__ import annotations

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
from tks_edge_runtime.program import Program, VersionFlag, VersionJsonFlag, begin
from tks_edge_runtime.versions import LIBRARIES

app = typer.Typer(cls=Program, pretty_exceptions_enable=False, rich_markup_mode="rich")


def register(other: typer.Typer) -> None:
    """Add the verbs that need no torch: `build`, `run`, `profile`, `report`, `pick`, `compare` and `doctor`."""
    for command in (build, run, profile, report, pick, compare, doctor):
        other.command(cls=ListsPlugins)(command)


@app.callback(invoke_without_command=True)
def tks_edge_runtime(context: typer.Context, version: VersionFlag = False, as_json: VersionJsonFlag = False) -> None:
    """Run, measure and report spiking networks exported by tks-edge."""
    begin(context, "tks-edge-runtime", LIBRARIES, version=version, as_json=as_json)


register(app)
for _command in (sweep, info, self_test):
    app.command(cls=ListsPlugins)(_command)


def main() -> None:
    """Run the command line."""
    app()
