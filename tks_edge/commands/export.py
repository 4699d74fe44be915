"""`tks-edge export`: a network at each T as a verified ONNX file, with a TensorRT engine, or a program; or as NIR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tks_edge.commands import completion
from tks_edge.commands.export_format import NIR, Format
from tks_edge.commands.export_graphs import write_graphs
from tks_edge.commands.export_nir import NirExport, check_given, export_nir
from tks_edge.commands.export_programs import write_programs
from tks_edge.commands.options import DataOption, FramesOption, RunArgument, TimestepsOption, given
from tks_edge.graphs import Asked, Writing
from tks_edge.lists import parse_names
from tks_edge.settings import RUNS
from tks_edge.timesteps import parse_timesteps
from tks_edge_runtime import completion as shared
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.dry_run import DryRunFlag

_KEPT = "the artifacts named above are whole; the same command writes them all anew."


def export(
    context: typer.Context,
    run: RunArgument = None,
    timesteps: TimestepsOption = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx; trt (ONNX for TensorRT, and the engine where it can be built); torch-trt (a PyTorch program); "
            "nir (a description that neuromorphic tools read).",
            autocompletion=completion.format_,
        ),
    ] = "onnx",
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, int8, or several: fp32,int8.", autocompletion=shared.precisions)
    ] = "fp32",
    form: Annotated[
        str,
        typer.Option(
            help="static (all timesteps in one graph), step (one, with its states), or both: static,step.",
            autocompletion=shared.forms,
        ),
    ] = "static",
    target: Annotated[
        str | None,
        typer.Option(
            help="What engine to lower for: generic, onnxruntime-cpu, openvino, tensorrt. "
            "(default: generic; of trt: tensorrt)",
            autocompletion=shared.target,
        ),
    ] = None,
    require_engine: Annotated[
        bool, typer.Option("--require-engine", help="Of trt: fail (exit code 3) where no engine can be built here.")
    ] = False,
    dt: Annotated[
        float | None, typer.Option(help="Of nir: the seconds that a timestep stands for. (default: 0.0001)")
    ] = None,
    low_memory: Annotated[bool, typer.Option("--low-memory", help="Of trt: build for boards of 4 and 8 GB.")] = False,
    membrane: Annotated[
        str | None,
        typer.Option(
            help="Of fp16 graphs, the membrane: fp32 or fp16. (default: fp32)", autocompletion=completion.membrane
        ),
    ] = None,
    quantize_ends: Annotated[
        bool, typer.Option("--quantize-ends", help="int8 for the first layer and the classifier too; calibrated.")
    ] = False,
    keep_float: Annotated[
        list[str] | None, typer.Option(help="The module path of a layer that int8 leaves in float. Repeatable.")
    ] = None,
    calibration_samples: Annotated[
        int | None,
        typer.Option(min=1, help="Training samples that int8 may look at, where it needs to. (default: 128)"),
    ] = None,
    passes: Annotated[
        list[str] | None,
        typer.Option(
            "--pass", help="Also apply a pass of an installed plugin. Repeatable.", autocompletion=completion.added_pass
        ),
    ] = None,
    skip_pass: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave a pass of the exporter out, for debugging. Repeatable.", autocompletion=completion.skipped_pass
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder that the artifacts go to.")] = Path("artifacts"),
    batch_size: Annotated[int, typer.Option(min=1, help="Images a run of the graph; it is static.")] = 1,
    input_dtype: Annotated[
        str, typer.Option(help="Of the raw pixels, 0 to 255: uint8 or float32.", autocompletion=completion.input_dtype)
    ] = "uint8",
    per_step: Annotated[bool, typer.Option("--per-step", help="Also give the logits of every timestep.")] = False,
    verify_samples: Annotated[int, typer.Option(min=1, help="Test samples compared spike by spike.")] = 128,
    eval_samples: Annotated[
        int, typer.Option(min=1, help="How many test samples the accuracy is taken on, at most.")
    ] = 10_000,
    eval_set: Annotated[
        bool,
        typer.Option(help="Write those samples beside the artifacts, so that a board can measure its accuracy."),
    ] = True,
    name: Annotated[str | None, typer.Option(help="What to call the artifacts. (default: the run's name)")] = None,
    frames: FramesOption = None,
    data: DataOption = None,
    dry_run: DryRunFlag = False,
    device: Annotated[
        str, typer.Option(help="Where the accuracy is computed: auto, cpu, cuda.", autocompletion=completion.device)
    ] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Unroll a trained network at each T into a static ONNX file, and compare it spike by spike with the network."""
    with running(as_json, debug, kept=_KEPT) as out:
        steps = parse_timesteps(timesteps) if timesteps is not None else None
        wanted_format = Format(format_, require_engine, low_memory, dt)
        if wanted_format.name == NIR:
            check_given(given(context))
        with out.waiting("loading PyTorch"):
            from tks_edge.artifacts import Wanted, sources_of
            from tks_edge.checkpoint import load_run
            from tks_edge.commands.export_intent import show_export_intent
            from tks_edge.device import choose_device
            from tks_edge.views import steps_of, views
            from tks_edge_export import FORMS, PRECISIONS

        asked = Asked(
            parse_names("precision", precision, PRECISIONS),
            parse_names("form", form, FORMS),
            wanted_format.target(target),
            membrane,
            quantize_ends,
            tuple(keep_float or ()),
            calibration_samples,
            per_step,
            frozenset(skip_pass or ()),
            tuple(passes or ()),
        )
        wanted_format.check(asked)
        # A twin runs one pass; asked for more, the newest network that has timesteps is meant.
        spikes = wanted_format.name == NIR or (steps is not None and max(steps) > 1)
        run = run if run is not None else _newest(out, spiking=spikes)
        trained = load_run(run)
        if wanted_format.name == NIR:
            export_nir(trained, NirExport(output, name, data, verify_samples, dt), out, dry_run=dry_run)
            return
        steps = steps_of(trained, steps)
        shown = views(trained, steps, frames)
        graphs = asked.graphs(trained, shown)
        wanted_format.check_samples(trained)
        gpu = wanted_format.gpu()
        how = Writing(output, batch_size, input_dtype, verify_samples, eval_set)
        wanted = Wanted(eval_samples, asked.calibration, name, data, choose_device(device))
        engines = wanted_format.engines()
        if dry_run:
            show_export_intent(trained, shown, graphs, how, wanted, engines, out, is_program=gpu is not None)
            return
        with out.progress() as bar:
            task = bar.add_task("accuracy in PyTorch", total=None)
            sources = sources_of(trained, shown, wanted, lambda samples: bar.advance(task, samples))
        written = []
        for served, source in sources:
            if gpu is not None:
                written += write_programs(source, served, gpu, how, out)
            else:
                of_it = [options for options in graphs if options.timesteps in served]
                written += write_graphs(source, of_it, engines, how, out)
        if gpu is None:
            _check_calibration(asked, written, out)
        out.document({"run": str(run), "output": str(output), "artifacts": written})
        if engines is not None:
            engines.conclude(out)
        if gpu is None:
            out.next("report", str(output))


def _newest(out: Output, *, spiking: bool) -> Path:
    """The newest run, or the newest that spikes, where none is named."""
    from tks_edge.runs import latest_run

    run = latest_run(RUNS, spiking=True if spiking else None)
    out.say(f"exporting {run}, the newest run that can be")
    return run


def _check_calibration(asked: Asked, rows: Sequence[dict[str, Any]], out: Output) -> None:
    """Say so where samples were offered and none of the artifacts, by their rows, has anything calibrated."""
    if asked.calibration_samples is not None and not any(row["calibrated"] for row in rows):
        out.warn("--calibration-samples changed nothing: int8 holds all that it rounds here exactly.")
