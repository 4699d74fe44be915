"""`profile`: the latency of one artifact."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.early_exit import early_exit_document, evaluation_table, rule_beside
from tks_edge_runtime.commands.opening import Opened, opened
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
    from tks_edge_runtime.anytime import AnytimeEvaluation
    from tks_edge_runtime.artifact import Manifest
    from tks_edge_runtime.backends.choice import Choice
    from tks_edge_runtime.exit_rule import CalibratedRule
    from tks_edge_runtime.layer_profile import LayerProfile
    from tks_edge_runtime.measurement import Measurement

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


@dataclass(frozen=True)
class Profiled:
    """What was measured of one artifact, and on what.

    Attributes:
        manifest: what the artifact says about itself.
        timesteps: the T that it ran at; with early exit the most that it ran for.
        chosen: what ran it.
        engine: library, version, device and threads; see `Session.describe`.
        measured: the latency.
        method: how it was measured, in sentences.
        states: of the device, while it was measured.
        early_exit: the rule that it stopped by and what that gave on the evaluation set; None without early exit.
        layers: where the time goes; None where that was not asked for.
        warnings: what is to be known before the numbers are used.
    """

    manifest: Manifest
    timesteps: int
    chosen: Choice
    engine: dict[str, str]
    measured: Measurement
    method: list[str]
    states: list[dict[str, Any]]
    early_exit: tuple[CalibratedRule, AnytimeEvaluation] | None
    layers: LayerProfile | None
    warnings: tuple[str, ...]


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
        from tks_edge_runtime.presets import preset_seconds

        seconds = preset_seconds(preset)
        kept = rule_beside(artifact, steps) if early_exit else None
        steps = steps if kept is None else kept.timesteps
        if per_layer:
            _check_layers(artifact)
        with opened(
            out, artifact, backend, device=device, threads=threads, cuda_graph=cuda_graph, steps=steps
        ) as using:
            found = _measured(using, seconds, kept)
        if per_layer:
            with out.waiting("timing every layer"):
                found = dataclasses.replace(found, layers=_layers(artifact, found, threads, steps))
        document = {"artifact": str(artifact), **_document(found, preset, cuda_graph=cuda_graph)}
        if output is not None:
            write_json(output, document)
        _show(found, out)
        if output is not None:
            out.say(f"written: {output}")
        out.document(document)
        out.next("report", f"{artifact.parent}/")


def _check_layers(artifact: Path) -> None:
    """Refuse an artifact without layers before anything is measured; see `layered_artifact`."""
    from tks_edge_runtime.layer_profile import layered_artifact

    layered_artifact(artifact)


def _measured(using: Opened, seconds: float, kept: CalibratedRule | None) -> Profiled:
    """Time the session, or where there is a rule, the session that stops by it; all but the layers.

    Raises:
        ArtifactError: there is a rule, and no evaluation set to count the steps on.
        InputError: the artifact cannot stop early on this device.
    """
    import contextlib

    from tks_edge_runtime.backends import foreign_target
    from tks_edge_runtime.device import EnergyMeter, Sampler
    from tks_edge_runtime.measure import measure, method_text, rotation

    session, chosen = using.session, using.chosen
    name, target = session.artifact.path.name, session.manifest.target
    with Sampler() as sampler, EnergyMeter() as energy, contextlib.ExitStack() as stack:
        anytime = None if kept is None else stack.enter_context(session.anytime(kept.rule))
        timed = session if anytime is None else anytime
        if anytime is not None:
            session.artifact.evaluation_set()  # without one there is nothing to count steps on
        (measured,) = measure(
            [timed],
            [rotation(timed)],
            seconds=seconds,
            on_progress=lambda fraction: using.show(f"measuring {name}", fraction),
            sampler=sampler,
            energy=energy,
        )
        method = method_text([timed], seconds, energy)
        exits = None if anytime is None else anytime.evaluate(lambda done: using.show("counting steps", done))
    foreign = foreign_target(target, chosen.backend, chosen.device)
    return Profiled(
        manifest=session.manifest,
        timesteps=session.timesteps,
        chosen=chosen,
        engine=session.describe(),
        measured=measured,
        method=method,
        states=sampler.states,
        early_exit=None if kept is None or exits is None else (kept, exits),
        layers=None,
        warnings=(*measured.warnings, *([] if foreign is None else [foreign])),
    )


def _layers(artifact: Path, found: Profiled, threads: int | None, steps: int | None) -> LayerProfile:
    """Time every layer on what was measured, beside the median that the graph took without a profiler."""
    from tks_edge_runtime.layer_profile import profile_layers

    measured, chosen = found.measured, found.chosen
    part = measured.summary if measured.compute is None else measured.compute.summary
    return profile_layers(artifact, chosen.backend, chosen.device, threads, steps=steps, unprofiled_ms=part.p50)


def _document(found: Profiled, preset: str, *, cuda_graph: bool) -> dict[str, Any]:
    """The JSON document, but for the artifact's path."""
    from tks_edge_runtime.device import facts

    manifest = found.manifest
    return {
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
