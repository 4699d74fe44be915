"""The artifact: an ONNX file with its manifest inside. The contract between export and runtime, written once, here.

The `.onnx` file alone is enough to run. Beside it lie a golden pair, `<stem>.golden.npz`, with which a board tests
itself, and, where one was asked for, an evaluation set `<dataset>-<split>-<hash>.eval.npz`, with which accuracy is
measured on the device from the very file that is timed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.onnx_metadata import read_metadata

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

SCHEMA_VERSION = 1
METADATA_KEY = "tks_edge.manifest"
MAX_TIMESTEPS = 64
"""The largest T that is trained or unrolled: beyond it a static graph is no longer the right form."""

_T = TypeVar("_T")


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
    """Everything about an artifact that is not in its graph. Stored as JSON under `METADATA_KEY`."""

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


def artifact_stem(name: str, timesteps: int, precision: str) -> str:
    """The file name without ending of an artifact: `digits-t2-fp32`."""
    return f"{name}-t{timesteps}-{precision}"


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
        manifest: Manifest = _parse(Manifest, document, "manifest")
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


def _parse(expected: Any, value: Any, where: str) -> Any:  # noqa: C901 - one branch for each kind of type
    """`value` (parsed JSON) as an instance of the type `expected`; TypeError names the place where it does not fit."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return value
    if dataclasses.is_dataclass(expected):
        return _parse_dataclass(typing.cast(type, expected), value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _parse(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{where} is {type(value).__name__}, not a list")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise TypeError(f"{where} has {len(value)} entries, not {len(arguments)}")
        return tuple(_parse(arguments[0], entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{where} is {type(value).__name__}, not an object")
        return {key: _parse(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not expected or (expected is float and not math.isfinite(value)):
        raise TypeError(f"{where} is {value!r}, not {expected.__name__}")
    return value


def _parse_dataclass(expected: type[_T], value: Any, where: str) -> _T:
    if not isinstance(value, dict):
        raise TypeError(f"{where} is {type(value).__name__}, not an object")
    hints = typing.get_type_hints(expected)
    missing = hints.keys() - value.keys()
    if missing:
        raise TypeError(f"{where} lacks {', '.join(sorted(missing))}")
    return expected(**{name: _parse(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})


@dataclass(frozen=True)
class Artifact:
    """An ONNX file of ours: its path and its manifest. Open one with `Artifact.open(path)`."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path | str) -> Artifact:
        """Read the manifest of the artifact at `path`.

        Raises:
            ArtifactError: the file is missing, damaged, not ours, or of a newer schema.
        """
        path = Path(path)
        if path.suffix != ".onnx":
            raise ArtifactError(f"{path} is not an .onnx file. Give an artifact written by `tks-edge export`.")
        metadata = read_metadata(path)
        if METADATA_KEY not in metadata:
            raise ArtifactError(
                f"{path} holds no tks-edge manifest: it was not written by `tks-edge export`, or is truncated."
            )
        return cls(path, parse_manifest(metadata[METADATA_KEY], path))

    def golden(self) -> tuple[Array, Array]:
        """The golden pair: a real input, and the logits `[N, K]` that the trained network gave for it.

        Raises:
            ArtifactError: the file beside the artifact is missing or damaged.
        """
        arrays = _read_npz(self.path.with_name(self.manifest.golden_file), ("input", "logits"))
        return arrays["input"], arrays["logits"]

    def evaluation_set(self) -> tuple[Array, Array]:
        """The evaluation set: inputs `[M, ...]` in the dtype of the graph's input, and labels `[M]` (int64).

        Raises:
            ArtifactError: there is none beside the artifact, or it is not the one the manifest names.
        """
        spec = self.manifest.evaluation
        if spec is None or spec.file is None:
            raise ArtifactError(
                f"{self.path} was exported without an evaluation set. Export it again with --eval-samples."
            )
        path = self.path.with_name(spec.file)
        arrays = _read_npz(path, ("inputs", "labels"))
        if sha256_of(path) != spec.sha256:
            raise ArtifactError(
                f"{path} is not the evaluation set that {self.path.name} was exported with. Export again."
            )
        inputs, labels = arrays["inputs"], arrays["labels"]
        if inputs.shape[1:] != self.manifest.input.shape[1:] or len(inputs) != len(labels):
            raise ArtifactError(
                f"{path} holds inputs {list(inputs.shape)} for labels {list(labels.shape)}; "
                f"{self.path.name} takes {list(self.manifest.input.shape)}. Export again."
            )
        return inputs.astype(self.manifest.input.dtype, copy=False), labels


def _read_npz(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    try:
        import numpy as np  # here, so that the command line, which knows the manifest, starts without it

        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} is missing. It belongs beside the artifact; copy it there or export again."
        ) from error
    except Exception as error:  # a damaged archive can raise anything in zipfile, the decompressors and NumPy
        raise ArtifactError(f"{path} is damaged ({error}). Copy it again or export again.") from error


def find_artifacts(folder: Path | str) -> list[Artifact]:
    """Every artifact in `folder`, sorted by name, twin last and then by T.

    Raises:
        InputError: the folder does not exist or holds no `.onnx` file.
        ArtifactError: one of the files is not an artifact.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give the folder that `tks-edge export --output` wrote to.")
    artifacts = [Artifact.open(path) for path in sorted(folder.glob("*.onnx"))]
    if not artifacts:
        raise InputError(f"{folder} holds no .onnx file. Run `tks-edge export --output {folder}` first.")
    return sorted(artifacts, key=lambda a: (a.manifest.is_twin, a.manifest.name, a.manifest.timesteps, a.path.name))
