"""An artifact's manifest, readable by people."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tks_edge_runtime.artifact import STEP, Artifact, Manifest, Precision, StateSpec, TensorSpec
from tks_edge_runtime.energy_estimate import estimated_energy
from tks_edge_runtime.show_layers import show_layers

_MANY_CLASSES = 12


def artifact_document(artifact: Artifact) -> dict[str, Any]:
    """Return the artifact as a JSON document.

    It has `path`, `size_bytes`, the whole `manifest`, and `estimated_energy` (None where the manifest has no layers).
    """
    estimate = estimated_energy(artifact.manifest)
    return {
        "path": str(artifact.path),
        "size_bytes": artifact.path.stat().st_size,
        "manifest": dataclasses.asdict(artifact.manifest),
        "estimated_energy": None if estimate is None else dataclasses.asdict(estimate),
    }


def show_artifact(artifact: Artifact, console: Console) -> None:
    """Print the artifact's manifest as a table of names and values, and its layers as another, where it has them."""
    table = Table(title=escape(str(artifact.path)), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(artifact):
        table.add_row(name, escape(value))
    console.print(table)
    if artifact.manifest.layers:
        show_layers(artifact.manifest, console)


def _rows(artifact: Artifact) -> list[tuple[str, str]]:
    manifest = artifact.manifest
    return [
        ("name", manifest.name),
        ("network", _network(manifest)),
        ("timesteps", f"{manifest.timesteps} (trained at {manifest.train_timesteps})"),
        ("form", _form(manifest)),
        ("target", manifest.target),
        ("neuron", _neuron(manifest)),
        ("encoding", _encoding(manifest)),
        ("readout", manifest.readout),
        ("precision", _precision(manifest.precision)),
        ("input", _tensor(manifest.input)),
        *(("output", _tensor(spec)) for spec in manifest.outputs),
        *(("state", _state(spec)) for spec in manifest.states),
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
        *([("passes skipped", ", ".join(manifest.skipped_passes))] if manifest.skipped_passes else []),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.tools.items())),
        ("made", manifest.created),
    ]


def _network(manifest: Manifest) -> str:
    # The neuron's constants have a row of their own.
    options = ", ".join(f"{name}={value}" for name, value in manifest.network.options.items() if name != "lif")
    twin = ", the ReLU twin" if manifest.is_twin else ""
    return f"{manifest.network.name}({options}), {manifest.network.parameters:,} parameters{twin}"


def _neuron(manifest: Manifest) -> str:
    neuron = manifest.neuron
    if neuron is None:
        return "ReLU" if manifest.is_twin else "spiking, with several constants or equations of its own"
    jump = "" if neuron.v_jump is None else f" of {neuron.v_jump:g}"
    reset = f"by subtraction{jump}" if neuron.v_reset is None else f"to {neuron.v_reset:g}"
    leak = "no leak" if neuron.tau is None else f"tau {neuron.tau:g}"
    decay = "input decays" if neuron.decay_input else "input does not decay"
    return f"LIF: {leak}, threshold {neuron.v_threshold:g}, reset {reset}, {decay}"


def _precision(precision: Precision) -> str:
    ends = "" if precision.ends == precision.weights else f" ({precision.ends} in the first layer and the classifier)"
    kept = f"; in float: {', '.join(precision.kept_float)}" if precision.kept_float else ""
    return (
        f"{precision.name}: {precision.weights} weights{ends}, {precision.spikes} spikes, "
        f"{precision.membrane} membrane{kept}"
    )


def _form(manifest: Manifest) -> str:
    if manifest.form == STEP:
        return f"step: one timestep, its {len(manifest.states)} states as inputs and outputs, for any number of steps"
    return "static: all timesteps in one graph, without states"


def _state(spec: StateSpec) -> str:
    return f"{spec.input} to {spec.output}: {spec.dtype} {list(spec.shape)}, {spec.zero} at first"


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} {list(spec.shape)}, {spec.layout}, {spec.meaning}"


def _encoding(manifest: Manifest) -> str:
    spec = manifest.frames
    if spec is None:
        return manifest.encoding
    first = f"; the first {manifest.timesteps} of them" if manifest.timesteps < spec.timesteps else ""
    norms = "; batch norm's statistics are those of such frames" if spec.norms_restated else ""
    return f"{manifest.encoding}: a recording in {spec.timesteps} of the same share of its {spec.cut}{first}{norms}"


def _preprocessing(manifest: Manifest) -> str:
    steps = manifest.preprocessing
    if steps is None:
        return "none are taken"
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
    exact = f", {found.exact:,} of them to the bit" if found.exact else ""
    return (
        f"on {found.samples} samples: {found.spikes:,} spikes compared{exact}, {found.borderline} borderline; "
        f"logits differ by at most {found.max_logit_difference:.1e} ({found.logit_tolerance:.1e} allowed); "
        f"{found.agreement:.2%} predicted as the trained network does"
    )
