"""The command line `tks-edge`: train, evaluate, export and verify here; run, profile and report are the runtime's."""

from __future__ import annotations

import gc
import os

import typer

from tks_edge.commands.bundle import bundle
from tks_edge.commands.calibrate_exit import calibrate_exit
from tks_edge.commands.demo import demo
from tks_edge.commands.deploy import deploy
from tks_edge.commands.eval import evaluate
from tks_edge.commands.export import export
from tks_edge.commands.finetune import finetune
from tks_edge.commands.import_ import import_
from tks_edge.commands.info import info
from tks_edge.commands.recipes import recipes
from tks_edge.commands.sweep import sweep
from tks_edge.commands.train import train
from tks_edge.commands.verify import verify
from tks_edge_runtime.cli import register
from tks_edge_runtime.command_help import ListsPlugins
from tks_edge_runtime.program import Program, VersionFlag, VersionJsonFlag, begin
from tks_edge_runtime.versions import LIBRARIES

app = typer.Typer(cls=Program, pretty_exceptions_enable=False, rich_markup_mode="rich")
_TRAINING = ("torch", "torchvision", "triton", "lightning-fabric", "onnx", "onnx-ir", "onnxscript", "torch-tensorrt")


@app.callback(invoke_without_command=True)
def tks_edge(context: typer.Context, version: VersionFlag = False, as_json: VersionJsonFlag = False) -> None:
    """Train a spiking network at many timesteps, ship it at one or two, and see what each costs."""
    begin(context, "tks-edge", (*_TRAINING, *LIBRARIES), version=version, as_json=as_json)


app.command()(recipes)
app.command(cls=ListsPlugins)(train)
app.command(cls=ListsPlugins)(finetune)
app.command("import", cls=ListsPlugins)(import_)
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
    # What training and export import is some 380,000 objects that stay. Looking for garbage among them after every 700
    # new ones took 0.8 of the 5 seconds that the imports take; now it is 0.3.
    gc.set_threshold(10_000, 10, 10)
    app()
