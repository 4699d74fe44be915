"""`profile`: the latency of one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
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
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write everything, with the latency of every run, as JSON.", show_default=False),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure the latency of an artifact on this machine."""
    with running(as_json, debug) as out:
        import dataclasses

        from tks_edge_runtime.artifact import variant
        from tks_edge_runtime.backends import foreign_target
        from tks_edge_runtime.device import EnergyMeter, Sampler, facts
        from tks_edge_runtime.files import write_json
        from tks_edge_runtime.measure import input_batches, measure, method_text, preset_seconds

        seconds = preset_seconds(preset)
        with (
            opened(out, artifact, backend, device=device, threads=threads, cuda_graph=cuda_graph, steps=steps) as using,
            Sampler() as sampler,
            EnergyMeter() as energy,
        ):
            session, chosen, show = using.session, using.chosen, using.show
            measured = measure(
                [session],
                [input_batches(session)],
                seconds=seconds,
                on_progress=lambda fraction: show(f"measuring {artifact.name}", fraction),
                sampler=sampler,
                energy=energy,
            )[0]
            method = method_text([session], seconds, energy)
            engine, manifest, timesteps = session.describe(), session.manifest, session.timesteps
        size = manifest.input.shape[0]
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
        }
        if output is not None:
            write_json(output, document)
        pace = "ReLU twin" if manifest.is_twin else f"T={timesteps}"
        title = f"{manifest.name}, {pace}, {variant(manifest.precision.name, manifest.form, manifest.target)}"
        _show(measured, size, title, method, out)
        foreign = foreign_target(manifest.target, chosen.backend, chosen.device)
        for warning in (*measured.warnings, *([foreign] if foreign is not None else [])):
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
