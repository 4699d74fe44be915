"""`tks-edge export`: a trained network at each T as a verified ONNX file, with a TensorRT engine, or as a program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge.commands import completion
from tks_edge.commands.export_format import Format
from tks_edge.commands.export_graphs import Writing, write_graphs
from tks_edge.commands.export_options import Asked
from tks_edge.commands.export_programs import write_programs
from tks_edge.commands.options import DataOption, FramesOption, RunArgument, TimestepsOption
from tks_edge.lists import parse_names
from tks_edge.settings import RUNS
from tks_edge.timesteps import parse_timesteps, powers_of_two
from tks_edge_runtime import completion as shared
from tks_edge_runtime.command import DebugFlag, JsonFlag, running
from tks_edge_runtime.dry_run import DryRunFlag
from tks_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run

_KEPT = "the artifacts named above are whole; the same command writes them all anew."


def export(
    run: RunArgument = None,
    timesteps: TimestepsOption = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx; trt (ONNX for TensorRT, and the engine where it can be built); torch-trt (a PyTorch program).",
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
        wanted_format = Format(format_, require_engine, low_memory)
        with out.waiting("loading PyTorch"):
            from tks_edge.artifacts import Wanted, sources_of
            from tks_edge.checkpoint import latest_run, load_run
            from tks_edge.commands.export_intent import show_export_intent
            from tks_edge.device import choose_device
            from tks_edge.views import views
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
        )
        wanted_format.check(asked)
        if run is None:
            # A twin runs one pass; asked for more, the newest network that has timesteps is meant.
            run = latest_run(RUNS, spiking=True if steps is not None and max(steps) > 1 else None)
            out.console.print(f"exporting {run}, the newest run that can be", highlight=False)
        trained = load_run(run)
        steps = _steps(trained, steps)
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
            asked.check_calibration(written, out)
        out.document({"run": str(run), "output": str(output), "artifacts": written})
        if engines is not None:
            engines.conclude(out)
        if gpu is None:
            out.next("report", str(output))


def _steps(run: Run, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The timesteps to unroll at; checked before anything is computed or written."""
    if run.network.is_spiking:
        return wanted if wanted is not None else powers_of_two(run.config.train.timesteps)
    if wanted not in (None, (1,)):
        raise InputError(f"{run.path} is a ReLU network: it has no state and runs one pass. Use --timesteps 1.")
    return (1,)
