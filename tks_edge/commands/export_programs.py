"""The torch-exported programs of `tks-edge export --format torch-trt`, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

if TYPE_CHECKING:
    from tks_edge.graphs import Writing
    from tks_edge_export import Source
    from tks_edge_export.torch_tensorrt import Gpu, Program
    from tks_edge_runtime.command import Output


def write_programs(
    source: Source, timesteps: Sequence[int], gpu: Gpu, how: Writing, out: Output
) -> list[dict[str, Any]]:
    """Compile, compare and write a program for each T; returns their rows of the JSON document.

    Raises:
        ExportError: torch-tensorrt cannot compile the network.
        MissingError: the memory of the GPU does not suffice.
        VerificationError: a program is not the network.
    """
    from tks_edge_export import record_evaluation_set
    from tks_edge_export.torch_tensorrt import ProgramExporter

    exporter = ProgramExporter(source, gpu, batch_size=how.batch_size, input_dtype=how.input_dtype)
    evaluation = record_evaluation_set(source.samples, how.folder, write=how.evaluation_set)
    rows = []
    for t in timesteps:
        with out.progress() as bar:
            compared = how.compared(len(source.samples.labels))
            task = bar.add_task(f"fp32 T={t}: compiling, then comparing logits", total=compared)
            program = exporter.write(
                t,
                how.folder,
                verify_samples=how.verify_samples,
                evaluation=evaluation,
                on_progress=lambda done, bar=bar, task=task: bar.update(task, completed=done),  # type: ignore[misc]
            )
        rows.append(_row(program, t, source))
        _show(rows[-1], out)
    return rows


def _row(program: Program, timesteps: int, source: Source) -> dict[str, Any]:
    comparison = program.comparison
    accuracy = next((a for a in source.accuracies if a.timesteps == timesteps), None)
    return {
        "file": str(program.path),
        "sidecar": str(program.sidecar),
        "timesteps": timesteps,
        "precision": "fp32",
        "gpu": program.gpu.name,
        "bytes": program.path.stat().st_size,
        "accuracy": accuracy.correct / accuracy.total if accuracy is not None else None,
        "accuracy_samples": len(source.samples.labels),
        "verified_samples": comparison.samples,
        "agreeing": comparison.agreeing,
        "logits_within_tolerance": comparison.within,
        "max_golden_difference": comparison.golden_difference,
        "logit_tolerance": comparison.logit_tolerance,
    }


def _show(row: dict[str, Any], out: Output) -> None:
    """One line on the program for people."""
    out.console.print(
        f"[bold]{escape(row['file'])}[/]  trained network {row['accuracy']:.2%} of {row['accuracy_samples']:,}; for "
        f"{escape(row['gpu'])} alone; golden logits within {row['max_golden_difference']:.1e} (allowed "
        f"{row['logit_tolerance']:.1e}); of {row['verified_samples']:,} samples, {row['agreeing']:,} predicted as by "
        f"the network and {row['logits_within_tolerance']:,} with its logits; spikes cannot be read in it",
        highlight=False,
        soft_wrap=True,
    )
