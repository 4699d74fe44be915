"""`tks-edge verify`: is an artifact still the network of a run? Spike by spike, per layer and timestep."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tks_edge.commands.options import DataOption
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.errors import CheckError

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge_export import Comparison
    from tks_edge_runtime.artifact import Artifact


def verify(
    artifact: Annotated[Path, typer.Argument(help="An .onnx file written by `tks-edge export`.")],
    against: Annotated[Path, typer.Option(help="The run directory that it was exported from.")],
    samples: Annotated[int, typer.Option(min=1, help="Test samples to compare on.")] = 128,
    data: DataOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare an artifact with the network it was exported from, spike by spike."""
    with running(as_json, debug) as out:
        from tks_edge.checkpoint import load_run
        from tks_edge_export import compare
        from tks_edge_runtime.artifact import Artifact

        opened, run = Artifact.open(artifact), load_run(against)
        _check_origin(opened, run)
        manifest = opened.manifest
        inputs, _ = run.dataset(data).test.evenly_spaced(samples).stacked()
        with out.progress() as bar:
            task = bar.add_task("comparing spikes", total=len(inputs))
            comparison = compare(
                artifact,
                run.network,
                inputs.astype(manifest.input.dtype),
                manifest.timesteps,
                lambda done: bar.update(task, completed=done),
            )
        _show(comparison, out)
        problem = comparison.problem()
        out.document(
            {"artifact": str(artifact), "run": str(against), "problem": problem, **dataclasses.asdict(comparison)}
        )
        comparison.check(artifact)
        out.console.print(f"{artifact} is the network of {against}.", highlight=False, soft_wrap=True)
        out.next("report", str(artifact.parent))


def _check_origin(artifact: Artifact, run: Run) -> None:
    """Refuse to compare what cannot be equal: an artifact of other weights."""
    if artifact.manifest.weights_sha256 != run.weights_sha256():
        raise CheckError(
            f"{artifact.path} was exported from other weights than those in {run.path} (it was trained again, or is "
            f"another run). Export it again: tks-edge export {run.path}"
        )


def _show(comparison: Comparison, out: Output) -> None:
    if comparison.layers:
        table = Table(title=f"spikes over {comparison.samples:,} samples", title_justify="left")
        for column in ("layer", "decisions", "fires", "borderline", "faults", "at T", "margin"):
            table.add_column(column, justify="left" if column == "layer" else "right")
        for layer in comparison.layers:
            table.add_row(
                layer.path,
                f"{layer.decisions:,}",
                f"{layer.fire_rate:.1%}",
                str(layer.differing - layer.faults),
                str(layer.faults),
                "-" if layer.first_fault is None else str(layer.first_fault + 1),
                f"{layer.smallest_margin:.1e}",
            )
        out.console.print(table)
    out.console.print(
        f"logits within {comparison.max_logit_difference:.1e} (allowed {comparison.logit_tolerance:.1e}); "
        f"{comparison.predictions_differing} of {comparison.samples} predictions differ",
        highlight=False,
        soft_wrap=True,
    )
