"""`tks-edge verify`: is an artifact still the network of a run? Spike by spike, per layer and timestep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge.commands import completion
from tks_edge.commands.options import DataOption
from tks_edge.commands.verify_tables import comparison_document, show_comparison
from tks_edge_runtime import completion as shared
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running

if TYPE_CHECKING:
    from tks_edge_export.bisect import Culprit
    from tks_edge_export.recompile import Recompiled
    from tks_edge_export.replay import Array
    from tks_edge_models import Network


def verify(
    artifact: Annotated[
        Path, typer.Argument(help="An .onnx file written by `tks-edge export`.", autocompletion=shared.artifact)
    ],
    against: Annotated[
        Path, typer.Option(help="The run directory that it was exported from.", autocompletion=completion.run)
    ],
    samples: Annotated[int, typer.Option(min=1, help="Test samples to compare on, spike by spike.")] = 128,
    eval_samples: Annotated[
        int, typer.Option(min=1, help="Test samples to compare the predicted classes on, at most.")
    ] = 10_000,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Find the first pass after which the graph differs from the network.")
    ] = False,
    data: DataOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare an artifact with the network it was exported from, spike by spike."""
    with running(as_json, debug) as out:
        with out.waiting("loading PyTorch"):
            from tks_edge.artifacts import check_origin
            from tks_edge.checkpoint import load_run
            from tks_edge.norms import network_for
            from tks_edge.views import view_of
            from tks_edge_export import compare
            from tks_edge_export.agreement import top1_agreement
            from tks_edge_export.recompile import recompile
            from tks_edge_runtime.artifact import Artifact

        opened, run = Artifact.open(artifact), load_run(against)
        check_origin(opened, run)
        manifest = opened.manifest
        view = view_of(run, manifest.timesteps, manifest.frames, artifact)
        with out.waiting("opening the data"):
            dataset = run.dataset(data)
            inputs, everything = (
                view.stacked(dataset.test.evenly_spaced(count))[0].astype(manifest.input.dtype)
                for count in (samples, eval_samples)
            )
        with out.waiting("lowering the network anew"):
            network = network_for(run, view, dataset)
            made = recompile(manifest, network)
        rest = {state.input: float(state.zero) for state in manifest.states}
        with out.progress() as bar:
            task = bar.add_task("comparing spikes", total=len(inputs))
            comparison = compare(
                artifact,
                made.reference,
                inputs,
                manifest.timesteps,
                trained=network,
                frames=view.frames is not None,
                rest=rest,
                on_progress=lambda done: bar.update(task, completed=done),
            )
            task = bar.add_task("comparing predictions", total=len(everything))
            agreement = top1_agreement(
                artifact,
                network,
                everything,
                manifest.timesteps,
                frames=view.frames is not None,
                rest=rest,
                on_progress=lambda done: bar.update(task, completed=done),
            )
        show_comparison(comparison, agreement, out)
        culprit = _bisected(made, network, inputs, out) if bisect else None
        out.document(
            {
                "artifact": str(artifact),
                "run": str(against),
                **comparison_document(comparison, agreement),
                "culprit": None if culprit is None else {"pass": culprit.name, "problem": culprit.problem},
            }
        )
        comparison.check(artifact)
        out.console.print(f"{artifact} is the network of {against}.", highlight=False, soft_wrap=True)
        out.next("report", str(artifact.parent))


def _bisected(made: Recompiled, network: Network, inputs: Array, out: Output) -> Culprit | None:
    """Lower the network anew with one more pass each time, and say which one breaks it."""
    from tks_edge_export.bisect import bisect
    from tks_edge_export.passes import PASSES

    with out.progress() as bar:
        task = bar.add_task("bisecting", total=len(PASSES) + 1)
        culprit = bisect(made.compiler, made.options, made.calibration, inputs, network, lambda _: bar.advance(task))
    if culprit is None:
        said = (
            "every pass keeps the network, lowered anew with one more of them at a time. Where the file differs, "
            "it was changed after it was written, or the engine computes it differently"
        )
    elif culprit.name is None:
        said = f"the graph differs without any pass: {culprit.problem}"
    else:
        said = f"the first pass after which the graph differs is {culprit.name}: {culprit.problem}"
    out.console.print(said, highlight=False, soft_wrap=True)
    return culprit
