"""`tks-edge export`: unroll a trained network at each T into a verified ONNX file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tks_edge.commands.options import DataOption, RunArgument, TimestepsOption
from tks_edge.settings import RUNS
from tks_edge.timesteps import parse_timesteps, powers_of_two
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.errors import InputError, unknown

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge_export import Exported, Source

_FORMATS = ("onnx",)


def export(
    run: RunArgument = None,
    timesteps: TimestepsOption = None,
    format_: Annotated[str, typer.Option("--format", help="What to write: onnx.")] = "onnx",
    precision: Annotated[str, typer.Option(help="Of weights, spikes and membranes: fp32.")] = "fp32",
    output: Annotated[Path, typer.Option(help="The folder that the artifacts go to.")] = Path("artifacts"),
    batch_size: Annotated[int, typer.Option(min=1, help="Images a run of the graph; it is static.")] = 1,
    input_dtype: Annotated[str, typer.Option(help="Of the raw pixels, 0 to 255: uint8 or float32.")] = "uint8",
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
    data: DataOption = None,
    device: Annotated[str, typer.Option(help="Where the accuracy is computed: auto, cpu, cuda.")] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Unroll a trained network at each T into a static ONNX file, and compare it spike by spike with the network."""
    with running(as_json, debug) as out:
        steps = parse_timesteps(timesteps) if timesteps is not None else None
        if format_ not in _FORMATS:
            raise unknown("format", format_, _FORMATS)
        from tks_edge.artifacts import source_of
        from tks_edge.checkpoint import latest_run, load_run
        from tks_edge.device import choose_device
        from tks_edge_export import PRECISIONS, Exporter, record_evaluation_set
        from tks_edge_runtime.artifact import artifact_stem

        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS)
        if run is None:
            # A twin runs one pass; asked for more, the newest network that has timesteps is meant.
            run = latest_run(RUNS, spiking=True if steps is not None and max(steps) > 1 else None)
            out.console.print(f"exporting {run}, the newest run that can be", highlight=False)
        trained = load_run(run)
        steps = _steps(trained, steps)
        with out.progress() as bar:
            task = bar.add_task("accuracy in PyTorch", total=None)
            source = source_of(
                trained,
                steps,
                samples=eval_samples,
                name=name,
                data=data,
                device=choose_device(device),
                after_batch=lambda samples: bar.advance(task, samples),
            )
        exporter = Exporter(source, batch_size=batch_size, input_dtype=input_dtype)
        evaluation = record_evaluation_set(source.samples, output, write=eval_set)
        written = []
        for t in steps:
            _say_what_is_replaced(output / f"{artifact_stem(source.name, t, precision)}.onnx", source, out)
            with out.progress() as bar:
                task = bar.add_task(f"T={t}: comparing spikes", total=min(verify_samples, len(source.samples.labels)))
                exported = exporter.write(
                    t,
                    output,
                    precision=precision,
                    per_step=per_step,
                    verify_samples=verify_samples,
                    evaluation=evaluation,
                    on_progress=lambda done, bar=bar, task=task: bar.update(task, completed=done),  # type: ignore[misc]
                )
            written.append(_row(exported, source))
            _show(written[-1], out)
        out.document({"run": str(run), "output": str(output), "artifacts": written})
        out.next("report", str(output))


def _steps(run: Run, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The timesteps to unroll at; checked before anything is computed or written."""
    if run.network.is_spiking:
        return wanted if wanted is not None else powers_of_two(run.config.train.timesteps)
    if wanted not in (None, (1,)):
        raise InputError(f"{run.path} is a ReLU network: it has no state and runs one pass. Use --timesteps 1.")
    return (1,)


def _say_what_is_replaced(path: Path, source: Source, out: Output) -> None:
    """Two runs of one name export to the same files; the second one's user should know."""
    from tks_edge_runtime.artifact import Artifact
    from tks_edge_runtime.errors import ArtifactError

    if not path.is_file():
        return
    with contextlib.suppress(ArtifactError):
        if Artifact.open(path).manifest.weights_sha256 != source.weights_sha256:
            out.console.print(
                f"{path} was exported from other weights and is replaced (--name keeps both)", markup=False
            )


def _row(exported: Exported, source: Source) -> dict[str, Any]:
    artifact, comparison = exported.artifact, exported.comparison
    accuracy = artifact.manifest.accuracy_at(artifact.manifest.timesteps)
    return {
        "file": str(artifact.path),
        "timesteps": artifact.manifest.timesteps,
        "precision": artifact.manifest.precision.name,
        "bytes": artifact.path.stat().st_size,
        "accuracy": accuracy.correct / accuracy.total if accuracy is not None else None,
        "accuracy_samples": len(source.samples.labels),
        "verified_samples": comparison.samples,
        "spikes_compared": comparison.decisions,
        "spikes_borderline": comparison.borderline,
        "max_logit_difference": comparison.max_logit_difference,
        "logit_tolerance": comparison.logit_tolerance,
    }


def _show(row: dict[str, Any], out: Output) -> None:
    spikes = "no spikes to compare (ReLU)"
    if row["spikes_compared"]:
        spikes = f"{row['spikes_compared']:,} spikes equal"
        if row["spikes_borderline"]:
            spikes += f" except {row['spikes_borderline']} with the membrane within rounding of the threshold"
    out.console.print(
        f"[bold]{row['file']}[/]  accuracy in PyTorch {row['accuracy']:.2%} of {row['accuracy_samples']:,}; verified "
        f"on {row['verified_samples']:,}: {spikes}, logits within {row['max_logit_difference']:.1e} "
        f"(allowed {row['logit_tolerance']:.1e})",
        highlight=False,
        soft_wrap=True,
    )
