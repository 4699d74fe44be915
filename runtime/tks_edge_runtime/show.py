"""An artifact's manifest, readable by people."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tks_edge_runtime.artifact import Artifact, Manifest, TensorSpec

_MANY_CLASSES = 12


def artifact_document(artifact: Artifact) -> dict[str, Any]:
    """Return the artifact as a JSON document: `path`, `size_bytes` and the whole `manifest`."""
    return {
        "path": str(artifact.path),
        "size_bytes": artifact.path.stat().st_size,
        "manifest": dataclasses.asdict(artifact.manifest),
    }


def show_artifact(artifact: Artifact, console: Console) -> None:
    """Print the artifact's manifest as a table of names and values."""
    table = Table(title=escape(str(artifact.path)), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(artifact):
        table.add_row(name, escape(value))
    console.print(table)


def _rows(artifact: Artifact) -> list[tuple[str, str]]:
    manifest = artifact.manifest
    precision = manifest.precision
    return [
        ("name", manifest.name),
        ("network", _network(manifest)),
        ("timesteps", f"{manifest.timesteps} (trained at {manifest.train_timesteps})"),
        ("neuron", _neuron(manifest)),
        ("encoding", manifest.encoding),
        ("readout", manifest.readout),
        (
            "precision",
            f"{precision.name}: {precision.weights} weights, {precision.spikes} spikes, {precision.membrane} membrane",
        ),
        ("input", _tensor(manifest.input)),
        *(("output", _tensor(spec)) for spec in manifest.outputs),
        ("image files", _preprocessing(manifest)),
        ("classes", _classes(manifest.classes)),
        *(
            (f"accuracy at T={a.timesteps}", f"{a.correct / a.total:.2%} ({a.correct} of {a.total})")
            for a in manifest.accuracies
        ),
        ("evaluation set", _evaluation(artifact)),
        ("golden pair", _presence(artifact, manifest.golden_file)),
        ("verified", _verification(manifest)),
        ("size", f"{artifact.path.stat().st_size / 1e6:.3f} MB"),
        ("weights", f"sha256 {manifest.weights_sha256}"),
        ("opset", str(manifest.opset)),
        ("passes", ", ".join(manifest.passes) or "none"),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.tools.items())),
        ("made", manifest.created),
    ]


def _network(manifest: Manifest) -> str:
    options = ", ".join(f"{name}={value}" for name, value in manifest.network.options.items())
    twin = ", the ReLU twin" if manifest.is_twin else ""
    return f"{manifest.network.name}({options}), {manifest.network.parameters:,} parameters{twin}"


def _neuron(manifest: Manifest) -> str:
    neuron = manifest.neuron
    if neuron is None:
        return "ReLU"
    reset = "by subtraction" if neuron.v_reset is None else f"to {neuron.v_reset:g}"
    decay = "input decays" if neuron.decay_input else "input does not decay"
    return f"LIF: tau {neuron.tau:g}, threshold {neuron.v_threshold:g}, reset {reset}, {decay}"


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} {list(spec.shape)}, {spec.layout}, {spec.meaning}"


def _preprocessing(manifest: Manifest) -> str:
    steps = manifest.preprocessing
    height, width = steps.crop
    if steps.resize is None:
        return f"{steps.mode}, resized to {width} x {height}"
    return f"{steps.mode}, shorter side resized to {steps.resize}, centre crop {width} x {height}"


def _classes(classes: tuple[str, ...]) -> str:
    shown = ", ".join(classes[:_MANY_CLASSES])
    return f"{len(classes)}: {shown}" + (", ..." if len(classes) > _MANY_CLASSES else "")


def _evaluation(artifact: Artifact) -> str:
    spec = artifact.manifest.evaluation
    if spec is None:
        return "none"
    where = "not exported" if spec.file is None else _presence(artifact, spec.file)
    return f"{spec.dataset}, {spec.split} split, {spec.samples} samples: {where}"


def _presence(artifact: Artifact, file: str) -> str:
    return file if artifact.path.with_name(file).is_file() else f"{file} (missing beside the artifact)"


def _verification(manifest: Manifest) -> str:
    found = manifest.verification
    if found is None:
        return "no"
    return (
        f"on {found.samples} samples: {found.spikes:,} spikes compared, {found.borderline} borderline; "
        f"logits differ by at most {found.max_logit_difference:.1e} ({found.logit_tolerance:.1e} allowed)"
    )
