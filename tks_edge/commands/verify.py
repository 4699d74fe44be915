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
    from tks_edge.verification import Verified
    from tks_edge_export.bisect import Culprit


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
            from tks_edge.checkpoint import load_run
            from tks_edge.verification import verified
            from tks_edge_runtime.artifact import Artifact

        Artifact.open(artifact)  # What is wrong with the file is said before what is wrong with the run.
        with out.stages() as show:
            found = verified(
                artifact,
                load_run(against),
                samples=samples,
                eval_samples=eval_samples,
                data=data,
                on_progress=show,
            )
        comparison, agreement = found.comparison, found.agreement
        show_comparison(comparison, agreement, out)
        culprit = _bisected(found, out) if bisect else None
        out.document(
            {
                "artifact": str(artifact),
                "run": str(against),
                **comparison_document(comparison, agreement),
                "culprit": None if culprit is None else {"pass": culprit.name, "problem": culprit.problem},
            }
        )
        comparison.check(artifact)
        out.say(f"{artifact} is the network of {against}.")
        out.next("report", str(artifact.parent))


def _bisected(found: Verified, out: Output) -> Culprit | None:
    """Lower the network anew with one more pass each time, and say which one breaks it."""
    with out.progress() as bar:
        task = bar.add_task("bisecting", total=found.tries)
        culprit = found.bisect(lambda _: bar.advance(task))
    if culprit is None:
        said = (
            "every pass keeps the network, lowered anew with one more of them at a time. Where the file differs, "
            "it was changed after it was written, or the engine computes it differently"
        )
    elif culprit.name is None:
        said = f"the graph differs without any pass: {culprit.problem}"
    else:
        said = f"the first pass after which the graph differs is {culprit.name}: {culprit.problem}"
    out.say(said)
    return culprit
