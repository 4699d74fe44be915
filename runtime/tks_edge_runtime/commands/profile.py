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
    CudaGraphFlag,
    DeviceOption,
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

        from tks_edge_runtime.artifact import Artifact, variant
        from tks_edge_runtime.backends import foreign_target
        from tks_edge_runtime.backends.choice import choose
        from tks_edge_runtime.device import Sampler, facts
        from tks_edge_runtime.files import write_json
        from tks_edge_runtime.measure import input_batches, measure, method_text, preset_seconds
        from tks_edge_runtime.session import load

        seconds = preset_seconds(preset)
        chosen = choose(backend, [Artifact.open(artifact)], device=device, cuda_graph=cuda_graph)
        if chosen.reason is not None:
            out.say(str(chosen))
        with (
            out.stages() as show,
            load(
                artifact,
                chosen.backend,
                device=chosen.device,
                threads=threads,
                cuda_graph=cuda_graph,
                steps=steps,
                on_build=show,
            ) as session,
            Sampler() as sampler,
        ):
            measured = measure(
                [session],
                [input_batches(session)],
                seconds=seconds,
                on_progress=lambda fraction: show(f"measuring {artifact.name}", fraction),
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
