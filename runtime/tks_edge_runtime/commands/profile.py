"""`profile`: the latency of one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.options import (
    DEFAULT_BACKEND,
    DEFAULT_PRESET,
    ArtifactArgument,
    BackendOption,
    PresetOption,
    StepsOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from tks_edge_runtime.measurement import Measurement


def profile(
    artifact: ArtifactArgument,
    preset: PresetOption = DEFAULT_PRESET,
    backend: BackendOption = DEFAULT_BACKEND,
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
        from tks_edge_runtime import device
        from tks_edge_runtime.artifact import variant
        from tks_edge_runtime.backends import foreign_target
        from tks_edge_runtime.files import write_json
        from tks_edge_runtime.measure import input_batches, measure, method_text, preset_seconds
        from tks_edge_runtime.session import load

        seconds = preset_seconds(preset)
        with load(artifact, backend, threads=threads, steps=steps) as session, device.Sampler() as sampler:
            batches = input_batches(session)
            with out.progress() as progress:
                bar = progress.add_task(f"measuring {artifact.name}", total=100)
                measured = measure(
                    [session],
                    [batches],
                    seconds=seconds,
                    on_progress=lambda fraction: progress.update(bar, completed=round(100 * fraction)),
                    sampler=sampler,
                )[0]
            method = method_text([session], seconds)
            engine, manifest, timesteps = session.describe(), session.manifest, session.timesteps
        size = manifest.input.shape[0]
        document = {
            "artifact": str(artifact),
            "precision": manifest.precision.name,
            "form": manifest.form,
            "target": manifest.target,
            "timesteps": timesteps,
            "preset": preset,
            "batch_size": size,
            "engine": engine,
            "device": device.facts(),
            "device_states": sampler.states,
            "method": method,
            "latency": measured.to_dict(include_trace=True),
        }
        if output is not None:
            write_json(output, document)
        pace = "ReLU twin" if manifest.is_twin else f"T={timesteps}"
        title = f"{manifest.name}, {pace}, {variant(manifest.precision.name, manifest.form, manifest.target)}"
        _show(measured, size, title, method, out)
        foreign = foreign_target(manifest.target, backend)
        for warning in (*measured.warnings, *([foreign] if foreign is not None else [])):
            out.warn(warning)
        if output is not None:
            out.console.print(f"written: {output}", markup=False, highlight=False, soft_wrap=True)
        out.document(document)
        out.next("report", f"{artifact.parent}/")


def _show(measured: Measurement, batch_size: int, title: str, method: list[str], out: Output) -> None:
    from rich.markup import escape
    from rich.table import Table

    for sentence in method:
        out.console.print(sentence, style="dim", markup=False, highlight=False)
    batch = "latency of one batch" + (", UNSTABLE" if measured.unstable else "")
    table = Table(batch, title=escape(title), title_justify="left")
    table.add_column("", justify="right")
    for name, value in _rows(measured, batch_size):
        table.add_row(name, value)
    out.console.print(table)


def _rows(measured: Measurement, batch_size: int) -> list[tuple[str, str]]:
    from tks_edge_runtime.statistics import needed

    summary: Any = measured.summary

    def tail(field: str, percentile: float) -> tuple[str, str]:
        value = getattr(summary, field)
        return f"p{percentile:g}", f"n/a (needs {needed(percentile)})" if value is None else _ms(value)

    return [
        ("runs", str(summary.n)),
        ("min", _ms(summary.min)),
        ("mean", _ms(summary.mean)),
        ("p50", _ms(summary.p50)),
        tail("p90", 90),
        tail("p95", 95),
        tail("p99", 99),
        tail("p999", 99.9),
        ("max", _ms(summary.max)),
        ("interquartile range", _ms(summary.iqr)),
        ("coefficient of variation", f"{summary.cv:.1%}"),
        ("throughput", f"{summary.throughput * batch_size:.1f} images/s"),
        ("CPU time of a run", _ms(measured.cpu_ms)),
        ("CPU time, least of all blocks", _ms(measured.cpu_ms_min)),
        ("loading", _ms(measured.cold_start.load_ms)),
        ("first inference", _ms(measured.cold_start.first_ms)),
    ]


def _ms(value: float) -> str:
    return f"{value:.4g} ms"
