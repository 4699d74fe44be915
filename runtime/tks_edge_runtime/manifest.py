"""The manifest: everything about an artifact that is not in its graph, as dataclasses, and their JSON.

Other packages import these names from `tks_edge_runtime.artifact`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import ArtifactError

SCHEMA_VERSION = 1
MAX_TIMESTEPS = 64
"""The largest T that is trained or unrolled: beyond it a static graph is no longer the right form."""


@dataclass(frozen=True)
class NetworkSpec:
    """Which network this is: registry name, neuron ("lif" or "relu"), and its construction options."""

    name: str
    neuron: str
    options: dict[str, Any]
    parameters: int


@dataclass(frozen=True)
class NeuronSpec:
    """The LIF constants: membrane time constant in steps, threshold, and reset (a potential; None: by subtraction)."""

    tau: float
    v_threshold: float
    v_reset: float | None
    decay_input: bool


@dataclass(frozen=True)
class Precision:
    """The number formats in the graph. `name` is the short form used in file names ("fp32")."""

    name: str
    weights: str
    spikes: str
    membrane: str


@dataclass(frozen=True)
class TensorSpec:
    """A graph input or output: its name, static shape, NumPy dtype name, layout ("NCHW") and meaning."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    meaning: str


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes an input: colour mode of Pillow ("L" or "RGB"), size, then centre crop.

    `resize`, in pixels, is what the shorter side becomes (None: straight to the crop's size); `crop` is (height, width)
    in pixels.
    """

    mode: str
    resize: int | None
    crop: tuple[int, int]


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy of the trained network at one T, as counts, on the evaluation set's split."""

    timesteps: int
    correct: int
    total: int


@dataclass(frozen=True)
class EvaluationSpec:
    """The set that `accuracies` were taken on; `file` is None where it was not written beside the artifact."""

    dataset: str
    split: str
    samples: int
    sha256: str
    file: str | None


@dataclass(frozen=True)
class Verification:
    """What the comparison of this graph with its network found, over `samples` inputs.

    `spikes` decisions were compared one by one; `borderline` of them differ, each with its membrane within rounding of
    the threshold. `max_logit_difference` is absolute.
    """

    samples: int
    spikes: int
    borderline: int
    max_logit_difference: float
    logit_tolerance: float


@dataclass(frozen=True)
class Manifest:
    """Everything about an artifact that is not in its graph. Stored as one line of JSON."""

    schema_version: int
    name: str
    network: NetworkSpec
    train_timesteps: int
    timesteps: int
    neuron: NeuronSpec | None
    encoding: str
    readout: str
    precision: Precision
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    accuracies: tuple[Accuracy, ...]
    evaluation: EvaluationSpec | None
    golden_file: str
    weights_sha256: str
    opset: int
    tools: dict[str, str]
    passes: tuple[str, ...]
    verification: Verification | None
    created: str

    def to_json(self) -> str:
        """The manifest as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @property
    def is_twin(self) -> bool:
        """Whether this is the plain ReLU network rather than a spiking one."""
        return self.network.neuron == "relu"

    def accuracy_at(self, timesteps: int) -> Accuracy | None:
        """The trained network's accuracy at `timesteps`, if the export recorded it."""
        return next((a for a in self.accuracies if a.timesteps == timesteps), None)


def parse_manifest(text: str, source: Path | str) -> Manifest:
    """Read a manifest from its JSON.

    Raises:
        ArtifactError: it is not JSON, is of a newer schema, or a field is missing or of the wrong type.
    """
    try:
        document = json.loads(text)
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
        manifest = parse(Manifest, document, "manifest", exact=False)
        _check(manifest)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{source}: {error}. The file is damaged or was edited; export it again.") from error
    return manifest


def _check(manifest: Manifest) -> None:
    """Refuse values that have the right type and no sense: a board may be handed any file."""
    if not 1 <= manifest.timesteps <= MAX_TIMESTEPS:
        raise ValueError(f"manifest.timesteps is {manifest.timesteps}, allowed are 1 to {MAX_TIMESTEPS}")
    if manifest.network.neuron not in ("lif", "relu"):
        raise ValueError(f"manifest.network.neuron is {manifest.network.neuron!r}, not 'lif' or 'relu'")
    if not manifest.classes:
        raise ValueError("manifest.classes is empty")
    for accuracy in manifest.accuracies:
        if not 0 <= accuracy.correct <= accuracy.total or accuracy.total < 1:
            raise ValueError(f"the accuracy at T={accuracy.timesteps} is {accuracy.correct} of {accuracy.total}")
    for spec in (manifest.input, *manifest.outputs):
        if not spec.shape or any(size < 1 for size in spec.shape):
            raise ValueError(f"the shape of {spec.name!r} is {list(spec.shape)}")
    _check_preprocessing(manifest.preprocessing)
    _check_file_name(manifest.golden_file)
    if manifest.evaluation is not None and manifest.evaluation.file is not None:
        _check_file_name(manifest.evaluation.file)


def _check_preprocessing(steps: Preprocessing) -> None:
    if steps.mode not in ("L", "RGB") or min(*steps.crop, 1 if steps.resize is None else steps.resize) < 1:
        raise ValueError(f"manifest.preprocessing is {steps}")


def _check_file_name(name: str) -> None:
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"the manifest names the file {name!r}, which is not a plain file name")
