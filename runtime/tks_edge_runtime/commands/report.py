"""`report`: latency against accuracy of every artifact in a folder, as a table, JSON, Markdown, plots and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.options import (
    DEFAULT_BACKEND,
    DEFAULT_PRESET,
    BackendOption,
    CudaGraphFlag,
    DeviceOption,
    FolderArgument,
    PresetOption,
    ThreadsOption,
)
from tks_edge_runtime.dry_run import DryRunFlag

if TYPE_CHECKING:
    from tks_edge_runtime.reporting.document import ReportDocument

_KEPT = "what was measured is not kept; the same command begins anew."


def report(
    context: typer.Context,
    folder: FolderArgument,
    output: Annotated[Path, typer.Option("--output", help="The folder that the report is written to.")] = Path(
        "report"
    ),
    preset: PresetOption = DEFAULT_PRESET,
    backend: BackendOption = DEFAULT_BACKEND,
    device: DeviceOption = None,
    cuda_graph: CudaGraphFlag = False,
    threads: ThreadsOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure latency and accuracy of every artifact in a folder, and write a report that opens in a browser."""
    with running(as_json, debug, kept=_KEPT) as out:
        from tks_edge_runtime.artifact import Artifact
        from tks_edge_runtime.errors import CheckError
        from tks_edge_runtime.reporting.build import FILES
        from tks_edge_runtime.reporting.build import report as measured
        from tks_edge_runtime.reporting.table import print_report

        if dry_run:
            _show_intent(folder, output, preset, backend, device, threads, cuda_graph, out)
            return
        with out.stages() as show:
            document = measured(
                folder,
                output,
                preset=preset,
                backend=backend,
                device=device,
                threads=threads,
                cuda_graph=cuda_graph,
                program=context.find_root().info_name or "tks-edge",
                on_choice=out.say_choice,
                on_progress=lambda stage, done: show(f"measuring {stage}", done),
                on_build=show,
            )
        print_report(document, out.console)
        written = ", ".join(str(output / name) for name in FILES)
        out.say(f"\nwritten: {written}")
        out.document(document.to_dict(traces=False))
        if document.failed:
            names = ", ".join(row.file for row in document.failed)
            foreign = all(row.foreign is not None for row in document.failed)
            advice = "Give the --backend that it was lowered for." if foreign else "Copy or export it again."
            raise CheckError(
                f"{len(document.failed)} of {len(document.rows)} failed: {names}; the report says why. {advice}"
            )
        shipped = folder / _shipped(document)
        takes_images = Artifact.open(shipped).manifest.preprocessing is not None
        out.next(*(("run", str(shipped), "IMAGE") if takes_images else ("profile", str(shipped))))


def _show_intent(
    folder: Path,
    output: Path,
    preset: str,
    backend: str,
    device: str | None,
    threads: int | None,
    cuda_graph: bool,
    out: Output,
) -> None:
    """Say what would be measured and written."""
    from tks_edge_runtime.artifact import find_artifacts
    from tks_edge_runtime.backends.choice import choose
    from tks_edge_runtime.dry_run import Intent, show_intent, written
    from tks_edge_runtime.presets import preset_seconds
    from tks_edge_runtime.reporting.build import report_candidates, report_files

    seconds = preset_seconds(preset)
    artifacts = find_artifacts(folder)
    chosen = choose(backend, artifacts, device=device, cuda_graph=cuda_graph)
    out.say_choice(chosen)
    candidates = report_candidates(
        artifacts, output, backend=chosen.backend, device=chosen.device, threads=threads, cuda_graph=cuda_graph
    )
    measured = [f"measure {one.label} for {seconds:g} s" for one in candidates]
    show_intent(Intent(measured, written(report_files(output))), out)


def _shipped(document: ReportDocument) -> str:
    """The file to go on with: the one to ship, or where there is none, the first."""
    place = document.answer.row if document.answer is not None else None
    return document.rows[place or 0].file
