"""`profile`: the latency of one artifact."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.early_exit import early_exit_document, evaluation_table
from tks_edge_runtime.commands.options import (
    DEFAULT_BACKEND,
    DEFAULT_PRESET,
    ArtifactArgument,
    BackendOption,
    CudaGraphFlag,
    DeviceOption,
    PresetOption,
    StepsOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from tks_edge_runtime.profiling import Profiled

EarlyExitFlag = Annotated[
    bool, typer.Option("--early-exit", help="Stop each sample by the rule that calibrate-exit kept beside it.")
]
PerLayerFlag = Annotated[
    bool,
    typer.Option("--per-layer", help="Also time every layer, in a session of its own, with the engine's own profiler."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", help="Write everything, with the latency of every run, as JSON.", show_default=False),
]


def profile(
    artifact: ArtifactArgument,
    preset: PresetOption = DEFAULT_PRESET,
    backend: BackendOption = DEFAULT_BACKEND,
    device: DeviceOption = None,
    cuda_graph: CudaGraphFlag = False,
    threads: ThreadsOption = None,
    steps: StepsOption = None,
    early_exit: EarlyExitFlag = False,
    per_layer: PerLayerFlag = False,
    output: OutputOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure the latency of an artifact on this machine."""
    with running(as_json, debug) as out:
        from tks_edge_runtime.files import write_json
        from tks_edge_runtime.profiling import profile as measured

        with out.stages() as show:
            found = measured(
                artifact,
                preset=preset,
                backend=backend,
                device=device,
                cuda_graph=cuda_graph,
                threads=threads,
                steps=steps,
                early_exit=early_exit,
                per_layer=per_layer,
                on_choice=out.say_choice,
                on_progress=show,
            )
        document = _document(found, artifact, preset, cuda_graph=cuda_graph)
        if output is not None:
            write_json(output, document)
        _show(found, out)
        if output is not None:
            out.say(f"written: {output}")
        out.document(document)
        out.next("report", f"{artifact.parent}/")


def _document(found: Profiled, artifact: Path, preset: str, *, cuda_graph: bool) -> dict[str, Any]:
    """The JSON document."""
    from tks_edge_runtime.device import facts

    manifest = found.manifest
    return {
        "artifact": str(artifact),
        "precision": manifest.precision.name,
        "form": manifest.form,
        "target": manifest.target,
        "timesteps": found.timesteps,
        "choice": dataclasses.asdict(found.chosen),
        "cuda_graph": cuda_graph,
        "preset": preset,
        "batch_size": manifest.input.shape[0],
        "engine": found.engine,
        "device": facts(),
        "device_states": found.states,
        "method": found.method,
        "latency": found.measured.to_dict(include_trace=True),
        "early_exit": None if found.early_exit is None else early_exit_document(*found.early_exit),
        **({} if found.layers is None else {"layers": found.layers.to_dict()}),
    }


def _show(found: Profiled, out: Output) -> None:
    """Print the tables, then the warnings."""
    from tks_edge_runtime.artifact import variant
    from tks_edge_runtime.show_latency import show_latency
    from tks_edge_runtime.show_layers import show_profile

    manifest, exits = found.manifest, found.early_exit
    pace = "ReLU twin" if manifest.is_twin else f"T{'=' if exits is None else '<='}{found.timesteps}"
    title = f"{manifest.name}, {pace}, {variant(manifest.precision.name, manifest.form, manifest.target)}"
    show_latency(found.measured, title, manifest.input.shape[0], found.method, out.console)
    if exits is not None:
        out.console.print(evaluation_table(*exits))
    if found.layers is not None:
        show_profile(found.layers, out.console)
    for warning in found.warnings:
        out.warn(warning)
