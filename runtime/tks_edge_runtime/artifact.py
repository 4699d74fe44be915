"""The artifact: an ONNX file with its manifest inside. The contract between export and runtime, written once, here.

The `.onnx` file alone is enough to run. Beside it lie a golden pair, `<stem>.golden.npz`, with which a board tests
itself, and, where one was asked for, an evaluation set `<dataset>-<split>-<hash>.eval.npz`, with which accuracy is
measured on the device from the very file that is timed.

This is the one module that others import for the contract: the names of the manifest are here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tks_edge_runtime.archives import read_arrays
from tks_edge_runtime.errors import ArtifactError, InputError, nearest_beside
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.manifest import (
    ANALOGUE,
    DIRECT,
    ENCODINGS,
    FORMS,
    FRAMES,
    GENERIC,
    MAX_TIMESTEPS,
    NEURON,
    SCHEMA_VERSION,
    SPIKES,
    STATIC,
    STEP,
    TARGETS,
    WEIGHTS,
    Accuracy,
    CalibrationSpec,
    CodeSpec,
    EvaluationSpec,
    FrameSpec,
    LayerSpec,
    Manifest,
    NetworkSpec,
    NeuronSpec,
    Precision,
    Preprocessing,
    StateSpec,
    TensorSpec,
    Verification,
)
from tks_edge_runtime.manifest_reading import parse_manifest
from tks_edge_runtime.onnx_metadata import read_metadata

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

__all__ = [
    "ANALOGUE",
    "DIRECT",
    "ENCODINGS",
    "FORMS",
    "FRAMES",
    "GENERIC",
    "MAX_TIMESTEPS",
    "METADATA_KEY",
    "NEURON",
    "SCHEMA_VERSION",
    "SPIKES",
    "STATIC",
    "STEP",
    "TARGETS",
    "WEIGHTS",
    "Accuracy",
    "Artifact",
    "CalibrationSpec",
    "CodeSpec",
    "EvaluationSpec",
    "FrameSpec",
    "LayerSpec",
    "Manifest",
    "NetworkSpec",
    "NeuronSpec",
    "Precision",
    "Preprocessing",
    "StateSpec",
    "TensorSpec",
    "Verification",
    "artifact_stem",
    "find_artifacts",
    "parse_manifest",
    "variant",
]

METADATA_KEY = "tks_edge.manifest"
"""Where in the ONNX file's `metadata_props` the manifest is."""


_PRECISIONS = ("fp32", "fp16", "int8")
"""In the order in which a folder lists them."""


def artifact_stem(name: str, timesteps: int, precision: str, *, form: str = STATIC, target: str = GENERIC) -> str:
    """The file name without ending of an artifact: `digits-t2-fp32`, or `digits-t2-int8-openvino` for a target.

    A step graph serves every T, so its file is there once and named without one: `digits-step-fp32`.
    """
    unrolled = f"t{timesteps}" if form == STATIC else form
    lowered = "" if target == GENERIC else f"-{target}"
    return f"{name}-{unrolled}-{precision}{lowered}"


def variant(precision: str, form: str, target: str) -> str:
    """What tells an artifact from others of its network and T, in words: `fp32`, `int8 openvino`, `fp32 step`."""
    return " ".join((precision, *([] if form == STATIC else [form]), *([] if target == GENERIC else [target])))


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
            near = "" if path.exists() else nearest_beside(path, lambda one: one.suffix == ".onnx")
            raise ArtifactError(f"{path} is not an .onnx file.{near} Give an artifact written by `tks-edge export`.")
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
        batch = self.manifest.batch.shape
        shapes = {"input": batch, "logits": (batch[0], len(self.manifest.classes))}
        arrays = read_arrays(self.path.with_name(self.manifest.golden_file), shapes)
        return arrays["input"], arrays["logits"]

    def evaluation_set(self) -> tuple[Array, Array]:
        """The evaluation set: samples `[M, ...]` as `Manifest.batch` has them, and labels `[M]` (int64).

        Raises:
            ArtifactError: there is none beside the artifact, or it is not the one the manifest names.
            MissingError: there is too little memory for it.
        """
        spec = self.manifest.evaluation
        if spec is None or spec.file is None:
            raise ArtifactError(
                f"{self.path} was exported without an evaluation set. Export it again without --no-eval-set."
            )
        path = self.path.with_name(spec.file)
        if path.is_file() and sha256_of(path) != spec.sha256:
            raise ArtifactError(
                f"{path} is not the evaluation set that {self.path.name} was exported with. "
                "Copy it again or export again."
            )
        shapes = {"inputs": (spec.samples, *self.manifest.batch.shape[1:]), "labels": (spec.samples,)}
        arrays = read_arrays(path, shapes)
        return arrays["inputs"].astype(self.manifest.input.dtype, copy=False), arrays["labels"]


def find_artifacts(folder: Path | str) -> list[Artifact]:
    """Every artifact in `folder`: by name, the twins last; of one name by precision, form, target and then T.

    Raises:
        InputError: the folder does not exist or holds no `.onnx` file.
        ArtifactError: one of the files is not an artifact.
    """
    folder = Path(folder)
    if not folder.is_dir():
        near = "" if folder.exists() else nearest_beside(folder, Path.is_dir)
        raise InputError(f"{folder} is not a folder.{near} Give the folder that `tks-edge export --output` wrote to.")
    # A name that begins with a dot is an unfinished file, which an export that was killed left behind.
    artifacts = [Artifact.open(path) for path in sorted(folder.glob("*.onnx")) if not path.name.startswith(".")]
    if not artifacts:
        raise InputError(f"{folder} holds no .onnx file. Run `tks-edge export --output {folder}` first.")
    return sorted(artifacts, key=_place)


def _place(artifact: Artifact) -> tuple[Any, ...]:
    """What artifacts are sorted by."""
    manifest = artifact.manifest
    precision = manifest.precision.name
    known = _PRECISIONS.index(precision) if precision in _PRECISIONS else len(_PRECISIONS)
    form, target = FORMS.index(manifest.form), TARGETS.index(manifest.target)
    place = (known, precision, form, target, manifest.timesteps)
    return (manifest.is_twin, manifest.name, *place, artifact.path.name)
