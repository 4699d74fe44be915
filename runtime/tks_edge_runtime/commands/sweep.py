"""`sweep`: every artifact of a folder on several engines, what is measured already kept, and one report of all."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.bounds import asked_bounds
from tks_edge_runtime.commands.options import (
    DEFAULT_PRESET,
    BackendsOption,
    CudaGraphFlag,
    FolderArgument,
    MaxEnergyOption,
    MaxLatencyOption,
    MinAccuracyOption,
    PercentileOption,
    PreferOption,
    PresetOption,
    ThreadsOption,
)
from tks_edge_runtime.dry_run import DryRunFlag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tks_edge_runtime.reporting.bounds import Bounds
    from tks_edge_runtime.reporting.candidates import Candidate
    from tks_edge_runtime.reporting.document import ReportDocument
    from tks_edge_runtime.reporting.row import Row
    from tks_edge_runtime.reporting.sweep import Plan

_KEPT = "what is measured is kept; the same command goes on from there."


def sweep(
    context: typer.Context,
    folder: FolderArgument,
    backend: BackendsOption = "auto",
    output: Annotated[Path, typer.Option("--output", help="The folder of the sweep.")] = Path("sweep"),
    preset: PresetOption = DEFAULT_PRESET,
    max_latency: MaxLatencyOption = None,
    min_accuracy: MinAccuracyOption = None,
    max_energy: MaxEnergyOption = None,
    percentile: PercentileOption = None,
    prefer: PreferOption = None,
    cuda_graph: CudaGraphFlag = False,
    threads: ThreadsOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure every artifact of a folder on each engine, interleaved, and name the one to ship; resumable."""
    with running(as_json, debug, kept=_KEPT) as out:
        bounds = asked_bounds(max_latency, min_accuracy, max_energy, percentile, prefer)
        from tks_edge_runtime.artifact import find_artifacts
        from tks_edge_runtime.reporting.candidates import candidates_of, engines_of

        artifacts = find_artifacts(folder)
        engines = engines_of(backend, artifacts, cuda_graph=cuda_graph)
        found = candidates_of(artifacts, engines, threads=threads, cuda_graph=cuda_graph)
        if dry_run:
            _show_intent(found, output, preset, bounds, out)
            return
        document = measured(found, (), output, command_line(context), preset, bounds, out)
        conclude(document, output, out)


def _show_intent(candidates: Sequence[Candidate], output: Path, preset: str, bounds: Bounds, out: Output) -> None:
    """Say what would be measured, what is kept, and what would be written."""
    from tks_edge_runtime.dry_run import Intent, show_intent, written
    from tks_edge_runtime.presets import preset_seconds
    from tks_edge_runtime.reporting.build import report_files
    from tks_edge_runtime.reporting.sweep import planned

    turns, _, plan = planned(candidates, output, preset=preset, bounds=bounds)
    seconds = preset_seconds(preset)
    measures = [
        f"measure {one.label} for {seconds:g} s in turn {number} of {len(plan.turns)}"
        for number, turn in enumerate(plan.turns, start=1)
        for one in turn
    ]
    there = written([turn.path for turn in turns.found], kept=True)
    added = written(turns.next_paths(len(plan.turns)))
    show_intent(Intent(measures, [*there, *added, *written(report_files(output))]), out)


def command_line(context: typer.Context) -> str:
    """The command as it was given, for the report."""
    import sys

    program = context.find_root().info_name or "tks-edge"
    return shlex.join([*program.split(), *sys.argv[1:]])


def measured(
    candidates: Sequence[Candidate],
    unexported: Sequence[Row],
    output: Path,
    command: str,
    preset: str,
    bounds: Bounds,
    out: Output,
) -> ReportDocument:
    """Measure what is missing, with what is being done shown; arguments as of `reporting.sweep.sweep`."""
    from tks_edge_runtime.reporting.sweep import sweep as run

    def say(plan: Plan) -> None:
        for text in plan.unreadable:
            out.warn(f"left out: {text}")
        rows = len({id(one) for turn in plan.turns for one in turn})
        kept = f"{plan.kept} of {len(candidates)} rows are measured already; " if plan.kept else ""
        turns = f"{len(plan.turns)} turn{'s' if len(plan.turns) > 1 else ''}"
        out.say(f"{kept}measuring {rows} in {turns}" if plan.turns else f"{kept}nothing to measure")

    with out.stages() as show:
        return run(
            candidates,
            output,
            command=command,
            preset=preset,
            bounds=bounds,
            unexported=unexported,
            on_plan=say,
            on_progress=show,
            on_build=show,
        )


def conclude(document: ReportDocument, output: Path, out: Output) -> None:
    """Print the table and the answer, name what was written, and fail where a row did.

    Raises:
        CheckError: a row could not be exported or run.
    """
    from tks_edge_runtime.errors import CheckError
    from tks_edge_runtime.reporting.build import FILES
    from tks_edge_runtime.reporting.table import print_report

    print_report(document, out.console)
    out.say(f"\nwritten: {', '.join(str(output / name) for name in FILES)}")
    out.document(document.to_dict(traces=False))
    if document.failed:
        raise CheckError(
            f"{len(document.failed)} of {len(document.rows)} rows failed; the report says why. Run the same command "
            "again to try them once more; what is measured is kept."
        )
    out.next("pick", str(output), "--max-latency", "5ms")
