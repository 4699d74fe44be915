"""`profile`: the latency of one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.early_exit import (
    early_exit_document,
    evaluation_table,
    rule_beside,
    too_few_runs,
)
from tks_edge_runtime.commands.opening import opened
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
    from tks_edge_runtime.layer_profile import LayerProfile
    from tks_edge_runtime.measurement import Measurement
    from tks_edge_runtime.statistics import LatencySummary


def profile(
    artifact: ArtifactArgument,
    preset: PresetOption = DEFAULT_PRESET,
    backend: BackendOption = DEFAULT_BACKEND,
    device: DeviceOption = None,
    cuda_graph: CudaGraphFlag = False,
    threads: ThreadsOption = None,
    steps: StepsOption = None,
    early_exit: Annotated[
        bool, typer.Option("--early-exit", help="Stop each sample by the rule that calibrate-exit kept beside it.")
    ] = False,
    per_layer: Annotated[
        bool,
        typer.Option(
            "--per-layer", help="Also time every layer, in a session of its own, with the engine's own profiler."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write everything, with the latency of every run, as JSON.", show_default=False),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure the latency of an artifact on this machine."""
    with running(as_json, debug) as out:
        import contextlib
        import dataclasses

        from tks_edge_runtime.artifact import variant
        from tks_edge_runtime.backends import foreign_target
        from tks_edge_runtime.device import EnergyMeter, Sampler, facts
        from tks_edge_runtime.files import write_json
        from tks_edge_runtime.measure import measure, method_text, preset_seconds, rotation

        seconds = preset_seconds(preset)
        kept = rule_beside(artifact, steps) if early_exit else None
        steps = steps if kept is None else kept.timesteps
        if per_layer:
            from tks_edge_runtime.layer_profile import layered_artifact, profile_layers

            layered_artifact(artifact)
        with (
            opened(out, artifact, backend, device=device, threads=threads, cuda_graph=cuda_graph, steps=steps) as using,
            Sampler() as sampler,
            EnergyMeter() as energy,
            contextlib.ExitStack() as stack,
        ):
            session, chosen, show = using.session, using.chosen, using.show
            anytime = None if kept is None else stack.enter_context(session.anytime(kept.rule))
            timed = session if anytime is None else anytime
            if anytime is not None:
                session.artifact.evaluation_set()  # without one there is nothing to count steps on
            batches = rotation(timed)
            measured = measure(
                [timed],
                [batches],
                seconds=seconds,
                on_progress=lambda fraction: show(f"measuring {artifact.name}", fraction),
                sampler=sampler,
                energy=energy,
            )[0]
            method = method_text([timed], seconds, energy)
            exits = None if anytime is None else anytime.evaluate(lambda fraction: show("counting steps", fraction))
            engine, manifest, timesteps = session.describe(), session.manifest, session.timesteps
        size = manifest.input.shape[0]
        layers: LayerProfile | None = None
        if per_layer:
            part = measured.summary if measured.compute is None else measured.compute.summary
            layers = profile_layers(
                artifact, chosen.backend, chosen.device, threads, steps=steps, unprofiled_ms=part.p50
            )
        document = {
            "artifact": str(artifact),
            "precision": manifest.precision.name,
            "form": manifest.form,
            "target": manifest.target,
            "timesteps": timesteps,
            "choice": dataclasses.asdict(chosen),
            "cuda_graph": cuda_graph,
            "preset": preset,
            "batch_size": size,
            "engine": engine,
            "device": facts(),
            "device_states": sampler.states,
            "method": method,
            "latency": measured.to_dict(include_trace=True),
            "early_exit": None if kept is None or exits is None else early_exit_document(kept, exits),
            **({} if layers is None else {"layers": layers.to_dict()}),
        }
        if output is not None:
            write_json(output, document)
        pace = "ReLU twin" if manifest.is_twin else f"T={timesteps}" if kept is None else f"T<={timesteps}"
        title = f"{manifest.name}, {pace}, {variant(manifest.precision.name, manifest.form, manifest.target)}"
        _show(measured, size, title, method, out)
        if kept is not None and exits is not None:
            out.console.print(evaluation_table(kept, exits))
        mixed = None if kept is None else too_few_runs(measured.summary.n, len(batches))
        if layers is not None:
            from tks_edge_runtime.show_layers import show_profile

            show_profile(layers, out.console)
        foreign = foreign_target(manifest.target, chosen.backend, chosen.device)
        for warning in (*measured.warnings, mixed, foreign):
            if warning is not None:
                out.warn(warning)
        if output is not None:
            out.say(f"written: {output}")
        out.document(document)
        out.next("report", f"{artifact.parent}/")


def _show(measured: Measurement, batch_size: int, title: str, method: list[str], out: Output) -> None:
    from rich.markup import escape
    from rich.table import Table

    for sentence in method:
        out.console.print(sentence, style="dim", markup=False, highlight=False)
    parts = {"end to end": measured.summary} | {
        name: part.summary
        for name, part in (
            ("compute", measured.compute),
            ("enqueue", measured.enqueue),
            ("copies", measured.copies),
        )
        if part is not None
    }
    style = "yellow" if measured.unstable else ""
    table = Table(
        "one batch, ms" + (", UNSTABLE" if measured.unstable else ""), title=escape(title), title_justify="left"
    )
    for name in parts:
        table.add_column(name, justify="right")
    for name, cells in zip(_STATISTICS, zip(*(_column(part) for part in parts.values()), strict=True), strict=True):
        table.add_row(name, *cells, style=style)
    out.console.print(table)
    rest = Table(show_header=False)
    rest.add_column(overflow="fold")
    rest.add_column(justify="right")
    for row in _rest(measured, batch_size):
        rest.add_row(*map(escape, row))
    out.console.print(rest)


_STATISTICS = ("runs", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max", "interquartile range", "variation")


def _column(summary: LatencySummary) -> list[str]:
    """The cells of one column, in the order of `_STATISTICS`; a percentile with too few runs says how many it needs."""
    from tks_edge_runtime.report.wording import milliseconds, percentile

    tails = [percentile(summary, name) for name in ("p50", "p90", "p95", "p99", "p999")]
    spread = [milliseconds(value) for value in (summary.max, summary.iqr)]
    return [str(summary.n), milliseconds(summary.min), milliseconds(summary.mean), *tails, *spread, f"{summary.cv:.1%}"]


def _rest(measured: Measurement, batch_size: int) -> list[tuple[str, str]]:
    """What was measured besides the latency of runs."""
    from tks_edge_runtime.report.wording import NONE, energy

    built = measured.cold_start.build_ms
    return [
        ("throughput", f"{measured.summary.throughput * batch_size:.1f} images/s"),
        ("CPU time of a run", _ms(measured.cpu_ms)),
        ("CPU time, least of all blocks", _ms(measured.cpu_ms_min)),
        *((f"energy of a run, {use.label}", f"{energy(use)} mJ") for use in measured.energy),
        *([] if measured.energy else [("energy of a run", NONE)]),
        ("loading", _ms(measured.cold_start.load_ms)),
        *([("of which building an engine", _ms(built))] if built is not None else []),
        ("first inference", _ms(measured.cold_start.first_ms)),
    ]


def _ms(value: float) -> str:
    return f"{value:.4g} ms"
