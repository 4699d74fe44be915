"""The manifest of a compiled graph."""

from __future__ import annotations

import datetime
from importlib.metadata import version

import onnx_ir as ir

from tks_edge_export.codes import Calibration, Code
from tks_edge_export.compiler import Compiled
from tks_edge_export.errors import ExportError
from tks_edge_export.lif_steps import NEXT_STATE, state_name
from tks_edge_export.options import Options
from tks_edge_export.passes import providers, recorded
from tks_edge_export.source import Source, network_spec, neuron_spec
from tks_edge_export.targets import OPSET
from tks_edge_export.unroll import LOGITS, LOGITS_PER_STEP
from tks_edge_export.values import static_shape
from tks_edge_export.verify import Comparison
from tks_edge_runtime.artifact import (
    SCHEMA_VERSION,
    CalibrationSpec,
    CodeSpec,
    EvaluationSpec,
    LayerSpec,
    Manifest,
    Precision,
    StateSpec,
    TensorSpec,
    Verification,
)

_OUTPUTS = {
    LOGITS: ("NK", "mean of the logits over the timesteps"),
    LOGITS_PER_STEP: ("TNK", "logits of every timestep"),
}
_FLOATS = {"fp32": "float32", "fp16": "float16"}
_TOOLS = ("tks-edge", "torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime")


def manifest_of(
    source: Source,
    compiled: Compiled,
    options: Options,
    comparison: Comparison,
    layers: tuple[LayerSpec, ...],
    *,
    evaluation: EvaluationSpec | None,
    golden_file: str,
) -> Manifest:
    """Everything about the artifact that is not in its graph."""
    graph = compiled.model.graph
    states = state_specs(compiled.model, compiled.calibration)
    ports = {state.output for state in states}
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=source.name,
        network=network_spec(source.network),
        train_timesteps=source.train_timesteps,
        timesteps=options.timesteps,
        form=options.form,
        states=states,
        target=options.target,
        neuron=neuron_spec(source.network),
        encoding="frames" if options.frames else "direct",
        readout="mean",
        precision=_precision(options, compiled.kept_float),
        input=_tensor_spec(graph.inputs[0], _layout(graph.inputs[0], options), _input_meaning(source)),
        outputs=tuple(
            _tensor_spec(value, *_meaning(str(value.name), options))
            for value in graph.outputs
            if value.name not in ports
        ),
        preprocessing=source.preprocessing,
        frames=source.frames,
        classes=source.classes,
        accuracies=source.accuracies,
        evaluation=evaluation,
        golden_file=golden_file,
        weights_sha256=source.weights_sha256,
        opset=OPSET,
        tools={tool: version(tool) for tool in _TOOLS} | providers(options),
        passes=compiled.passes,
        skipped_passes=tuple(sorted(options.skip)),
        calibration=_calibration(compiled.calibration),
        verification=_verification(comparison),
        layers=layers,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def state_specs(model: ir.Model, calibration: Calibration) -> tuple[StateSpec, ...]:
    """The states of a step graph, in the order of its inputs."""
    found = []
    for value in model.graph.inputs[1:]:
        name = str(value.name)
        path = name.removeprefix(state_name(""))
        spec = _tensor_spec(value, "", "")
        found.append(
            StateSpec(path, name, f"{name}{NEXT_STATE}", spec.shape, spec.dtype, calibration.zeros.get(path, 0))
        )
    return tuple(found)


def rest_of(compiled: Compiled) -> dict[str, float]:
    """What the states of a step graph are before the first step, by input name."""
    return {state.input: state.zero for state in state_specs(compiled.model, compiled.calibration)}


def calibration_of(manifest: Manifest) -> Calibration:
    """What the export that wrote this manifest found on samples."""
    spec = manifest.calibration
    if spec is None:
        return Calibration()
    inputs, currents = (
        {path: Code(code.scale, code.zero, code.signed) for path, code in codes.items()}
        for codes in (spec.inputs, spec.currents)
    )
    return Calibration(inputs, currents, spec.zeros)


def options_of(manifest: Manifest) -> Options:
    """What was asked for when this artifact was written, as far as it decides what the graph computes.

    Raises:
        MissingError: a plugin's pass was, and that plugin is not installed here.
    """
    precision = manifest.precision
    membrane = "fp16" if precision.membrane == "float16" else "fp32"
    return Options(
        manifest.timesteps,
        form=manifest.form,
        precision=precision.name,
        membrane=membrane,
        target=manifest.target,
        frames=manifest.encoding == "frames",
        per_step=any(spec.name == LOGITS_PER_STEP for spec in manifest.outputs),
        quantize_ends=precision.ends == "int8",
        keep_float=precision.kept_float,
        skip=frozenset(manifest.skipped_passes),
        passes=recorded(manifest.passes, manifest.tools),
    )


def _precision(options: Options, kept_float: tuple[str, ...]) -> Precision:
    membrane = "uint8" if options.codes_currents else _FLOATS[options.membrane]
    if options.precision != "int8":
        kind = _FLOATS[options.precision]
        return Precision(options.precision, kind, kind, membrane, ends=kind)
    ends = "int8" if options.quantize_ends else "float32"
    return Precision("int8", "int8", options.lowering.spikes, membrane, ends, kept_float)


def _calibration(found: Calibration) -> CalibrationSpec | None:
    if not (found.inputs or found.currents or found.zeros):
        return None
    inputs, currents = (
        {path: CodeSpec(code.scale, code.zero, code.signed) for path, code in codes.items()}
        for codes in (found.inputs, found.currents)
    )
    return CalibrationSpec(inputs, currents, dict(found.zeros))


def _verification(comparison: Comparison) -> Verification:
    total = comparison.total
    return Verification(
        samples=comparison.samples,
        spikes=total.decisions,
        borderline=total.differing - total.faults,
        max_logit_difference=comparison.max_logit_difference,
        logit_tolerance=comparison.logit_tolerance,
        exact=sum(layer.total.decisions for layer in comparison.layers if layer.exact),
        agreement=comparison.agreement,
    )


def _layout(value: ir.Value, options: Options) -> str:
    rank = len(static_shape(value) or ())
    time = "T" if options.frames and options.form == "static" else ""
    return {4: "NCHW", 3: "NCL", 2: "NC"}.get(rank - len(time), "N...").replace("N", f"N{time}", 1)


def _input_meaning(source: Source) -> str:
    if source.frames is not None:
        return "events in each pixel, one channel a polarity"
    return "as the network takes it" if source.preprocessing is None else "raw pixels, 0 to 255"


def _meaning(name: str, options: Options) -> tuple[str, str]:
    return ("NK", "logits of this timestep") if options.form == "step" else _OUTPUTS[name]


def _tensor_spec(value: ir.Value, layout: str, meaning: str) -> TensorSpec:
    shape = static_shape(value)
    if shape is None or value.dtype is None:
        raise ExportError(f"the graph's {value.name!r} has no static shape; export with images of one size.")
    return TensorSpec(str(value.name), shape, value.dtype.numpy().name, layout, meaning)
