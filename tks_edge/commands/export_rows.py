"""What `tks-edge export` says of each artifact that it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

if TYPE_CHECKING:
    from tks_edge_export import Exported, Source
    from tks_edge_runtime.command import Output


def artifact_row(exported: Exported, source: Source) -> dict[str, Any]:
    """The artifact in the command's JSON document."""
    artifact, comparison = exported.artifact, exported.comparison
    manifest, total = artifact.manifest, comparison.total
    accuracy = manifest.accuracy_at(manifest.timesteps)
    return {
        "file": str(artifact.path),
        "timesteps": manifest.timesteps,
        "form": manifest.form,
        "precision": manifest.precision.name,
        "kept_float": list(manifest.precision.kept_float),
        "target": manifest.target,
        "calibrated": manifest.calibration is not None,
        "bytes": artifact.path.stat().st_size,
        "accuracy": accuracy.correct / accuracy.total if accuracy is not None else None,
        "accuracy_samples": len(source.samples.labels),
        "verified_samples": comparison.samples,
        "agreement": comparison.agreement,
        "agreeing": comparison.samples - comparison.trained_differing,
        "spikes_compared": total.decisions,
        "spikes_borderline": total.differing - total.faults,
        "spikes_exact": sum(layer.total.decisions for layer in comparison.layers if layer.exact),
        "max_logit_difference": comparison.max_logit_difference,
        "logit_tolerance": comparison.logit_tolerance,
    }


def show_row(row: dict[str, Any], out: Output) -> None:
    """One line on the artifact for people."""
    spikes = "no spikes to compare (ReLU)"
    if row["spikes_compared"]:
        spikes = f"{row['spikes_compared']:,} spikes equal"
        if row["spikes_borderline"]:
            spikes += f" except {row['spikes_borderline']} with the membrane within rounding of the threshold"
    agreeing = f"; {row['agreeing']} of {row['verified_samples']} predictions as in fp32"
    rounded = "" if row["precision"] == "fp32" else agreeing
    kept = f"; left in float: {escape(', '.join(row['kept_float']))}" if row["kept_float"] else ""
    out.console.print(
        f"[bold]{escape(row['file'])}[/]  trained network {row['accuracy']:.2%} of {row['accuracy_samples']:,}; graph "
        f"verified on {row['verified_samples']:,}: {spikes}, logits within {row['max_logit_difference']:.1e} "
        f"(allowed {row['logit_tolerance']:.1e}){rounded}{kept}",
        highlight=False,
        soft_wrap=True,
    )
