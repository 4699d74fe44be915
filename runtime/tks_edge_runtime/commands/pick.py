"""`pick`: the one artifact of a report or a sweep to ship, within bounds on latency, accuracy and energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime import completion
from tks_edge_runtime.command import DebugFlag, JsonFlag, running
from tks_edge_runtime.commands.bounds import asked_bounds
from tks_edge_runtime.commands.options import (
    MaxEnergyOption,
    MaxLatencyOption,
    MinAccuracyOption,
    PercentileOption,
    PreferOption,
)

if TYPE_CHECKING:
    from tks_edge_runtime.reporting.row import Row


def pick(
    report: Annotated[
        Path,
        typer.Argument(
            metavar="REPORT",
            help="The folder of a sweep or a report, or its report.json.",
            autocompletion=completion.report,
        ),
    ] = Path("sweep"),
    max_latency: MaxLatencyOption = None,
    min_accuracy: MinAccuracyOption = None,
    max_energy: MaxEnergyOption = None,
    percentile: PercentileOption = None,
    prefer: PreferOption = None,
    network: Annotated[
        str | None, typer.Option("--network", help="Only rows of this network and the ReLU twins.")
    ] = None,
    spiking_only: Annotated[bool, typer.Option("--spiking-only", help="The ReLU twin is no candidate.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Choose the one artifact to ship, and say why, what comes second, and what the nearest miss would need."""
    with running(as_json, debug) as out:
        bounds = asked_bounds(max_latency, min_accuracy, max_energy, percentile, prefer)
        from tks_edge_runtime.errors import CheckError
        from tks_edge_runtime.reporting.choosing import picked
        from tks_edge_runtime.reporting.table import print_answer

        found = picked(report, bounds, network=network, spiking_only=spiking_only)
        answer = found.answer
        if found.unfinished:
            out.warn(
                f"{found.file} does not know of {', '.join(found.unfinished)}: the sweep that measured them did not "
                "end. Run it again with the same options; what is measured is kept."
            )
        print_answer(answer, out.console)
        out.document(
            {
                "asked": answer.asked,
                "preference": answer.preference,
                "pick": _described(found.row),
                "runner_up": _described(found.runner_up),
                "headline": answer.headline,
                "sentences": list(answer.sentences),
                "misses": list(answer.misses),
            }
        )
        if answer.row is None:
            raise CheckError("nothing fits. Widen a bound, or export at another T or precision and measure again.")


def _described(row: Row | None) -> dict[str, object] | None:
    """What a program needs of a row: the file, what runs it, and its numbers."""
    if row is None:
        return None
    return {
        "file": row.file,
        "sha256": row.sha256,
        "title": row.title,
        "timesteps": row.timesteps,
        "precision": row.precision,
        "backend": row.backend,
        "device": row.device,
        "cuda_graph": row.cuda_graph,
        "accuracy": None if row.accuracy is None else row.accuracy.percent,
        "early_exit": row.early_exit is not None,
        "mean_ms": None if row.latency is None else row.latency.mean,
        "p50_ms": None if row.latency is None else row.latency.p50,
        "p99_ms": None if row.latency is None else row.latency.p99,
        "energy_mj": None if row.main_energy is None else row.main_energy.mj,
        "energy_of": None if row.main_energy is None else row.main_energy.label,
    }
