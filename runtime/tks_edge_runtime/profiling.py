"""The latency of one artifact, and where it goes: what is measured of it, and on what."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tks_edge_runtime.anytime import AnytimeEvaluation
from tks_edge_runtime.artifact import Manifest
from tks_edge_runtime.backends import foreign_target
from tks_edge_runtime.backends.choice import Choice
from tks_edge_runtime.chosen import load_chosen
from tks_edge_runtime.device import EnergyMeter, Sampler
from tks_edge_runtime.exit_rule import CalibratedRule, rule_beside
from tks_edge_runtime.layer_profile import LayerProfile, layered_artifact, profile_layers
from tks_edge_runtime.measure import measure, method_text, rotation
from tks_edge_runtime.measurement import Measurement
from tks_edge_runtime.presets import preset_seconds
from tks_edge_runtime.session import DEFAULT_BACKEND, Session

Progress = Callable[[str, float], None]
"""Told which stage is being worked on, in words, and the fraction of it that is done, 0 to 1."""


@dataclass(frozen=True)
class Profiled:
    """What was measured of one artifact, and on what.

    Attributes:
        manifest: what the artifact says about itself.
        timesteps: the T that it ran at; with early exit the most that it ran for.
        chosen: what ran it.
        engine: library, version, device and threads; see `Session.describe`.
        measured: the latency, in ms: `measured.summary.p50`, `.p99`, `.mean`.
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
    artifact: Path | str,
    *,
    preset: str = "quick",
    backend: str = DEFAULT_BACKEND,
    device: str | None = None,
    cuda_graph: bool = False,
    threads: int | None = None,
    steps: int | None = None,
    early_exit: bool = False,
    per_layer: bool = False,
    on_choice: Callable[[Choice], None] | None = None,
    on_progress: Progress | None = None,
) -> Profiled:
    """Measure the latency of an artifact on this machine, single stream, on real samples.

    Args:
        artifact: an `.onnx` file written by `tks-edge export`.
        preset: how long it is timed: "quick" 3 s, "standard" 10 s, "long" 60 s, "mlperf" 600 s; the warm-up on top.
        backend: what runs it; "auto" chooses.
        device: where it computes, one of the backend's devices; None for its first.
        cuda_graph: whether the launches of a run are recorded once and replayed as one.
        threads: threads inside one operator; None leaves the number to the library.
        steps: the T that a step artifact is run at; None for that of its export.
        early_exit: whether each sample stops by the rule that `calibrate-exit` kept beside a step artifact.
        per_layer: whether every layer is timed as well, in a session of its own.
        on_choice: told what runs it, before it is opened.
        on_progress: told the stage and how far it is.

    Raises:
        ArtifactError: the file is no artifact, is damaged, or lacks what was asked for beside it.
        InputError: there is no such preset, backend or device, or the artifact cannot be run so.
        MissingError: the backend's library, its driver or the device is missing.
    """
    artifact, show = Path(artifact), on_progress or (lambda _stage, _done: None)
    seconds = preset_seconds(preset)
    kept = rule_beside(artifact, steps) if early_exit else None
    steps = steps if kept is None else kept.timesteps
    if per_layer:
        layered_artifact(artifact)  # which refuses one without layers before anything is measured
    session, chosen = load_chosen(
        artifact,
        backend,
        device=device,
        threads=threads,
        cuda_graph=cuda_graph,
        steps=steps,
        on_choice=on_choice or (lambda _choice: None),
        on_build=show,
    )
    with session:
        found = _measured(session, chosen, seconds, kept, show)
    if per_layer:
        show("timing every layer", 0.0)
        found = dataclasses.replace(found, layers=_layers(artifact, found, threads, steps))
        show("timing every layer", 1.0)
    return found


def _measured(
    session: Session, chosen: Choice, seconds: float, kept: CalibratedRule | None, show: Progress
) -> Profiled:
    """Time the session, or where there is a rule, the session that stops by it; all but the layers.

    Raises:
        ArtifactError: there is a rule, and no evaluation set to count the steps on.
        InputError: the artifact cannot stop early on this device.
    """
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
            on_progress=lambda fraction: show(f"measuring {name}", fraction),
            sampler=sampler,
            energy=energy,
        )
        method = method_text([timed], seconds, energy)
        exits = None if anytime is None else anytime.evaluate(lambda done: show("counting steps", done))
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
    measured, chosen = found.measured, found.chosen
    part = measured.summary if measured.compute is None else measured.compute.summary
    return profile_layers(artifact, chosen.backend, chosen.device, threads, steps=steps, unprofiled_ms=part.p50)
