"""`tks-edge sweep`: every T, precision and engine of a trained network: exported, measured interleaved, decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge.commands import completion
from tks_edge.commands.options import DataOption, FramesOption
from tks_edge.lists import parse_names
from tks_edge.settings import RUNS
from tks_edge.timesteps import parse_timesteps
from tks_edge_runtime import completion as shared
from tks_edge_runtime.command import DebugFlag, JsonFlag, running
from tks_edge_runtime.commands.bounds import asked_bounds
from tks_edge_runtime.commands.options import (
    DEFAULT_PRESET,
    BackendsOption,
    CudaGraphFlag,
    MaxEnergyOption,
    MaxLatencyOption,
    MinAccuracyOption,
    PercentileOption,
    PreferOption,
    PresetOption,
    ThreadsOption,
)
from tks_edge_runtime.dry_run import DryRunFlag

_KEPT = "what is exported and measured is kept; the same command goes on from there."


def sweep(
    context: typer.Context,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run directories; the ReLU twin is found beside them. (default: the newest in runs/)",
            autocompletion=completion.run,
        ),
    ] = None,
    timesteps: Annotated[
        str | None, typer.Option(help="Such as 1-8. (default: the powers of two up to the T it was trained at)")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, int8, or several: fp32,int8.", autocompletion=shared.precisions)
    ] = "fp32",
    form: Annotated[
        str, typer.Option(help="static, step, or both: static,step.", autocompletion=shared.forms)
    ] = "static",
    backend: BackendsOption = "onnxruntime",
    output: Annotated[Path, typer.Option(help="The folder of the sweep: artifacts/, turns/ and the report.")] = Path(
        "sweep"
    ),
    preset: PresetOption = DEFAULT_PRESET,
    max_latency: MaxLatencyOption = None,
    min_accuracy: MinAccuracyOption = None,
    max_energy: MaxEnergyOption = None,
    percentile: PercentileOption = None,
    prefer: PreferOption = None,
    cuda_graph: CudaGraphFlag = False,
    threads: ThreadsOption = None,
    verify_samples: Annotated[int, typer.Option(min=1, help="Test samples compared spike by spike.")] = 128,
    eval_samples: Annotated[int, typer.Option(min=1, help="How many test samples the accuracy is taken on.")] = 10_000,
    frames: FramesOption = None,
    data: DataOption = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Export what is missing, measure everything interleaved, and name the artifact to ship.

    Run again, it keeps what was measured of the same file, on the same engine, in the same state of the machine.
    """
    with running(as_json, debug, kept=_KEPT) as out:
        bounds = asked_bounds(max_latency, min_accuracy, max_energy, percentile, prefer)
        steps = parse_timesteps(timesteps) if timesteps is not None else None
        with out.waiting("loading PyTorch"):
            from tks_edge.artifacts import Wanted
            from tks_edge.checkpoint import load_run
            from tks_edge.commands.sweep_exports import Grid, export_missing, with_twin
            from tks_edge.commands.sweep_intent import show_sweep_intent
            from tks_edge.graphs import Writing
            from tks_edge.runs import latest_run
            from tks_edge_export import FORMS, PRECISIONS
            from tks_edge_runtime.commands.sweep import command_line, conclude, measured
            from tks_edge_runtime.errors import CheckError
            from tks_edge_runtime.presets import preset_seconds
            from tks_edge_runtime.reporting.build import check_output
            from tks_edge_runtime.reporting.candidates import candidates_of, engines_of

        preset_seconds(preset)
        check_output(output)
        grid = Grid(
            steps,
            parse_names("precision", precision, PRECISIONS),
            parse_names("form", form, FORMS),
            engines_of(backend, (), cuda_graph=cuda_graph),
            frames,
        )
        swept = with_twin([load_run(path) for path in runs or [latest_run(RUNS, spiking=True)]], out)
        how = Writing(output / "artifacts", 1, "uint8", verify_samples, evaluation_set=True)
        wanted = Wanted(eval_samples, 128, data=data)
        if dry_run:
            show_sweep_intent(swept, grid, how, wanted, preset, out)
            return
        exports = export_missing(swept, grid, how, wanted, out)
        if not exports.artifacts:
            raise CheckError("nothing could be exported; the warnings above say why.")
        found = candidates_of(exports.artifacts, grid.engines, threads=threads, cuda_graph=cuda_graph)
        document = measured(found, exports.failed, output, command_line(context), preset, bounds, out)
        conclude(document, output, out)
