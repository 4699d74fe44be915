"""Load an artifact and run it: logits, predictions, accuracy over its evaluation set, and a test of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import Artifact, Manifest, TensorSpec
from tks_edge_runtime.backends import Engine, find_backend, open_engine
from tks_edge_runtime.errors import ArtifactError, InputError

Array = npt.NDArray[Any]
DEFAULT_BACKEND = "onnxruntime"

_TOLERANCE = 1e-4
"""Absolute, and relative to the largest golden logit: float32 sums of a few thousand terms, taken in another order on
another processor, differ by some 1e-6 of their size; a single spike decided differently moves a logit by far more."""


@dataclass(frozen=True)
class Prediction:
    """One class for one image: its name, its index, and its softmax probability."""

    label: str
    index: int
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """How many of the evaluation set's samples were classified correctly."""

    correct: int
    total: int


@dataclass(frozen=True)
class SelfTest:
    """How far the logits of the golden input are from the trained network's, and how far they may be (absolute)."""

    max_difference: float
    tolerance: float
    passed: bool


def load(
    path: Path | str, backend: str = DEFAULT_BACKEND, *, threads: int | None = None, spinning: bool = True
) -> Session:
    """Open the artifact at `path`, ready to run.

    Args:
        path: an `.onnx` file written by `tks-edge export`.
        backend: what runs it; see `tks_edge_runtime.backends.BACKENDS`.
        threads: threads inside one operator; None leaves the number to the library.
        spinning: whether idle threads wait actively; switch it off for sessions that are measured in turns.

    Raises:
        ArtifactError: the file is not an artifact, is damaged, or its graph is not the one its manifest describes.
        InputError: there is no such backend.
        MissingError: the backend's library is not installed.
    """
    # The library's own import is no part of an artifact's loading time: only the first of several would pay for it.
    find_backend(backend).version()
    start = perf_counter_ns()
    artifact = Artifact.open(path)
    engine = open_engine(artifact.path, backend, threads=threads, spinning=spinning)
    load_ms = (perf_counter_ns() - start) / 1e6
    return Session(artifact, engine, backend=backend, load_ms=load_ms)


class Session:
    """An artifact with an engine that runs it; a context manager. Made by `load`.

    Attributes:
        artifact: the file and its manifest.
        backend: the name of what runs it.
        load_ms: what opening it took, in ms, the backend's library already imported.
        first_ms: what the first inference took, in ms; NaN before it.
    """

    def __init__(self, artifact: Artifact, engine: Engine, *, backend: str, load_ms: float) -> None:
        _check_ports(artifact, engine)
        self.artifact = artifact
        self.backend = backend
        self.load_ms = load_ms
        self.first_ms = math.nan
        self._engine = engine
        self._input = artifact.manifest.input
        self._dtype = np.dtype(self._input.dtype)

    @property
    def manifest(self) -> Manifest:
        """What the artifact says about itself."""
        return self.artifact.manifest

    def describe(self) -> dict[str, str]:
        """Name what runs the graph: library, version, device, threads."""
        return self._engine.describe()

    def run_batch(self, batch: Array) -> Array:
        """Run exactly one static batch: this is what is timed.

        Args:
            batch: the manifest's input shape and dtype, batch axis included.

        Returns:
            logits `[N, K]`, float32.

        Raises:
            InputError: `batch` is no array, or its shape or dtype is not the manifest's.
        """
        if not isinstance(batch, np.ndarray) or batch.shape != self._input.shape or batch.dtype != self._dtype:
            raise _unfitting(batch, self._input, "one batch")
        if not math.isnan(self.first_ms):
            return self._engine.run({self._input.name: batch})["logits"]
        start = perf_counter_ns()
        logits = self._engine.run({self._input.name: batch})["logits"]
        self.first_ms = (perf_counter_ns() - start) / 1e6
        return logits

    def run(self, images: Array, *, on_progress: Callable[[float], None] | None = None) -> Array:
        """Run any number of samples, in as many static batches as that takes.

        Args:
            images: `[M, ...]`, M >= 1, with the dtype and the sample shape of the manifest's input (raw pixels).
            on_progress: told the fraction that is done, 0 to 1, after each batch.

        Returns:
            logits `[M, K]`, float32.

        Raises:
            InputError: `images` is no array, or its rank, shape or dtype does not fit.
        """
        sample = self._input.shape[1:]
        if (
            not isinstance(images, np.ndarray)
            or images.ndim != len(sample) + 1
            or images.shape[1:] != sample
            or len(images) < 1
            or images.dtype != self._dtype
        ):
            raise _unfitting(images, self._input, "any number of samples")
        size, total = self._input.shape[0], len(images)
        results = []
        for start in range(0, total, size):
            chunk = images[start : start + size]
            # A static graph has no smaller batch: the last one is filled up with copies, whose logits are cut off.
            filled = np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk), axis=0)])
            results.append(self.run_batch(filled)[: len(chunk)])
            if on_progress is not None:
                on_progress((start + len(chunk)) / total)
        return np.concatenate(results)

    def predict(self, images: Array, top_k: int = 1) -> list[list[Prediction]]:
        """Classify samples: for each, the `top_k` most probable classes, the best first.

        Args:
            images: as for `run`.
            top_k: how many classes for each sample, 1 to the number of classes.

        Raises:
            InputError: `top_k` or `images` does not fit.
        """
        classes = self.manifest.classes
        if not 1 <= top_k <= len(classes):
            raise InputError(
                f"top_k is {top_k}; {self.artifact.path.name} knows {len(classes)} classes: 1 to {len(classes)}."
            )
        probabilities = _softmax(self.run(images))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        return [
            [Prediction(classes[index], int(index), float(row[index])) for index in best]
            for row, best in zip(probabilities, order, strict=True)
        ]

    def evaluate(self, on_progress: Callable[[float], None] | None = None) -> Evaluation:
        """Count the correct top-1 predictions over the whole evaluation set.

        Args:
            on_progress: told the fraction that is done, 0 to 1, after each batch.

        Raises:
            ArtifactError: there is no evaluation set beside the artifact, or it is not the one the manifest names.
        """
        inputs, labels = self.artifact.evaluation_set()
        predicted = self.run(inputs, on_progress=on_progress).argmax(axis=1)
        return Evaluation(int(np.count_nonzero(predicted == labels)), len(labels))

    def self_test(self) -> SelfTest:
        """Compare the logits of the golden input with those of the trained network.

        The tolerance is that of the export's own comparison where the manifest records one that is wider, since a lower
        precision differs by more; otherwise the one of float32 arithmetic.

        Raises:
            ArtifactError: there is no golden pair beside the artifact, or it is damaged.
        """
        inputs, expected = self.artifact.golden()
        logits = self.run(inputs)
        if logits.shape != expected.shape:
            raise ArtifactError(
                f"the golden pair of {self.artifact.path} holds logits {list(expected.shape)}, the graph gives "
                f"{list(logits.shape)}. Export it again."
            )
        verification = self.manifest.verification
        tolerance = _TOLERANCE * (1 + float(np.abs(expected).max()))
        if verification is not None:
            tolerance = max(tolerance, verification.logit_tolerance)
        difference = float(np.abs(logits - expected).max())
        return SelfTest(difference, tolerance, difference <= tolerance)

    def close(self) -> None:
        """Free the engine. The session cannot run afterwards."""
        self._engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def _unfitting(got: object, spec: TensorSpec, what: str) -> InputError:
    expected = f"{spec.dtype}{list(spec.shape)} ({spec.layout}: {spec.meaning})"
    if isinstance(got, np.ndarray):
        found = f"an array {got.dtype}{list(got.shape)}"
    else:
        found = f"{type(got).__name__}, not a NumPy array"
    return InputError(f"the input is {found}; expected is {what} of {expected}.")


def _check_ports(artifact: Artifact, engine: Engine) -> None:
    """Refuse a graph that is not the one its manifest describes: from here on the manifest is believed."""
    manifest = artifact.manifest
    declared = {spec.name: (spec.shape, spec.dtype) for spec in (manifest.input, *manifest.outputs)}
    found = {port.name: (port.shape, port.dtype) for port in (*engine.inputs, *engine.outputs)}
    logits = ((manifest.input.shape[0], len(manifest.classes)), "float32")
    if declared != found or found.get("logits") != logits or len(engine.inputs) != 1:
        ports = ", ".join(map(str, (*engine.inputs, *engine.outputs)))
        raise ArtifactError(
            f"{artifact.path}: its graph has {ports}, which is not what its manifest says. Export it again."
        )
