"""JSON becomes a manifest, and one that makes no sense is refused: a board may be handed any file."""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path
from typing import Any

from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import ArtifactError
from tks_edge_runtime.manifest import (
    ENCODINGS,
    FORMS,
    LAYER_INPUTS,
    LAYER_KINDS,
    MAX_TIMESTEPS,
    SCHEMA_VERSION,
    STEP,
    TARGETS,
    WEIGHTS,
    EvaluationSpec,
    LayerSpec,
    Manifest,
    Preprocessing,
    StateSpec,
    TensorSpec,
)

_NEURONS = ("lif", "relu")

_NO_TEXT = ("Cc", "Cs")
"""Control characters, and halves of a character: a terminal obeys the first and cannot be sent the second."""
_LONGEST_REASON = 300
_LARGEST_RESIZE = 16
"""Times the longer side of the crop: what an image is resized to has to fit into memory."""

_DTYPES = ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")

_STATE_DTYPES = {
    "float32": (0, 0),
    "float16": (0, 0),
    "int32": (-(2**31), 2**31 - 1),
    "int8": (-128, 127),
    "uint8": (0, 255),
}
"""And the integers that may stand for 0: in a float, 0 alone."""


def parse_manifest(text: str, source: Path | str) -> Manifest:
    """Read a manifest from its JSON.

    Raises:
        ArtifactError: it is not JSON, is of a newer schema, or a field is missing or of the wrong type.
    """
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite)
        _check_texts(document)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{source}: its manifest is not valid JSON ({error}). Export it again.") from error
    if not isinstance(document, dict) or not isinstance(document.get("schema_version"), int):
        raise ArtifactError(f"{source}: its manifest has no schema_version. Export it again.")
    if document["schema_version"] != SCHEMA_VERSION:
        found = document["schema_version"]
        advice = "update tks-edge-runtime" if found > SCHEMA_VERSION else "export it again with this version"
        raise ArtifactError(
            f"{source} has manifest schema {found}; this version reads schema {SCHEMA_VERSION}: {advice}."
        )
    try:
        manifest = parse(Manifest, document, "manifest", exact=False, older=True)
        _check(manifest)
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error) if len(str(error)) <= _LONGEST_REASON else f"{str(error)[:_LONGEST_REASON]}..."
        raise ArtifactError(f"{source}: {reason}. The file is damaged or was edited; export it again.") from error
    return manifest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:80]} is no number")
    return value


def _check_texts(value: Any) -> None:
    """Refuse texts that are none, and those that would do something to the terminal that shows them."""
    if isinstance(value, str):
        if any(unicodedata.category(character) in _NO_TEXT for character in value):
            raise ValueError(f"the text {value[:80]!r} holds control characters")
    elif isinstance(value, dict):
        for item in (*value, *value.values()):
            _check_texts(item)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)


def _check(manifest: Manifest) -> None:
    """Refuse values that have the right type and no sense: a board may be handed any file."""
    if not 1 <= manifest.timesteps <= MAX_TIMESTEPS:
        raise ValueError(f"manifest.timesteps is {manifest.timesteps}, allowed are 1 to {MAX_TIMESTEPS}")
    _check_name("network.neuron", manifest.network.neuron, _NEURONS)
    _check_name("form", manifest.form, FORMS)
    _check_name("encoding", manifest.encoding, ENCODINGS)
    _check_name("target", manifest.target, TARGETS)
    if not manifest.classes:
        raise ValueError("manifest.classes is empty")
    for accuracy in manifest.accuracies:
        if not 0 <= accuracy.correct <= accuracy.total or accuracy.total < 1:
            raise ValueError(f"the accuracy at T={accuracy.timesteps} is {accuracy.correct} of {accuracy.total}")
    _check_tensors((manifest.input, *manifest.outputs, *manifest.states))
    _check_states(manifest)
    _check_preprocessing(manifest.preprocessing, manifest.input)
    _check_file_name(manifest.golden_file)
    _check_layers(manifest.layers)
    if manifest.evaluation is not None:
        _check_evaluation(manifest.evaluation)


def _check_evaluation(spec: EvaluationSpec) -> None:
    if spec.samples < 1:
        raise ValueError(f"manifest.evaluation.samples is {spec.samples}")
    if spec.file is not None:
        _check_file_name(spec.file)


def _check_tensors(specs: tuple[TensorSpec | StateSpec, ...]) -> None:
    for spec in specs:
        if not spec.shape or any(size < 1 for size in spec.shape):
            raise ValueError(f"the shape of {spec.name!r} is {list(spec.shape)}")
        if isinstance(spec, TensorSpec):
            _check_name(f"{spec.name}.dtype", spec.dtype, _DTYPES)


def _check_name(field: str, got: str, allowed: tuple[str, ...]) -> None:
    if got not in allowed:
        raise ValueError(f"manifest.{field} is {got!r}, not one of {', '.join(allowed)}")


def _check_states(manifest: Manifest) -> None:
    """A step graph has the states that it names, each once; a static graph has none."""
    if (manifest.form == STEP) != bool(manifest.states):
        raise ValueError(f"manifest.form is {manifest.form!r}, with {len(manifest.states)} states")
    ports = [port for state in manifest.states for port in (state.input, state.output)]
    if len(set(ports)) < len(ports):
        raise ValueError(f"manifest.states go by {', '.join(map(repr, ports))}: each needs names of its own")
    for state in manifest.states:
        if not state.name or (state.input, state.output) != (f"state.{state.name}", f"state.{state.name}.out"):
            raise ValueError(f"the state {state.name!r} goes from {state.input!r} to {state.output!r}")
        if state.dtype not in _STATE_DTYPES:
            raise ValueError(f"the state {state.name!r} is {state.dtype!r}, not one of {', '.join(_STATE_DTYPES)}")
        low, high = _STATE_DTYPES[state.dtype]
        if not low <= state.zero <= high:
            raise ValueError(f"the zero of the state {state.name!r} is {state.zero}, which is none of {state.dtype}")


def _check_layers(layers: tuple[LayerSpec, ...]) -> None:
    """Every layer is there once, with what its kind has and in bounds."""
    if len({layer.path for layer in layers}) < len(layers):
        raise ValueError("manifest.layers names a layer twice")
    for layer in layers:
        _check_name(f"layers: the kind of {layer.path!r}", layer.kind, LAYER_KINDS)
        if layer.kind == WEIGHTS:
            _check_name(f"layers: the input of {layer.path!r}", str(layer.input), LAYER_INPUTS)
            rate, largest = layer.input_rate, math.inf
        else:
            rate, largest = layer.fire_rate, 1.0
        if not layer.path or layer.macs < 0 or rate is None or not 0 <= rate <= largest:
            raise ValueError(f"the layer {layer.path!r} has {layer.macs} multiply-accumulates and the rate {rate}")


def _check_preprocessing(steps: Preprocessing | None, spec: TensorSpec) -> None:
    if steps is None:
        return
    if steps.mode not in ("L", "RGB") or min(*steps.crop, 1 if steps.resize is None else steps.resize) < 1:
        raise ValueError(f"manifest.preprocessing is {steps}")
    if len(spec.shape) == 4 and steps.crop != spec.shape[2:]:
        raise ValueError(f"manifest.preprocessing crops to {list(steps.crop)}, the input is {list(spec.shape)}")
    if steps.resize is not None and steps.resize > _LARGEST_RESIZE * max(steps.crop):
        raise ValueError(f"manifest.preprocessing resizes to {steps.resize}, and crops to {list(steps.crop)}")


def _check_file_name(name: str) -> None:
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"the manifest names the file {name!r}, which is not a plain file name")
