"""Load an artifact and run it: logits, predictions, accuracy over its evaluation set, and a test of itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from time import perf_counter_ns
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.anytime import Anytime, ExitRule
from tks_edge_runtime.artifact import FRAMES, STEP, Artifact, Manifest
from tks_edge_runtime.backends import BuildProgress, Engine, RunTimes, find_backend, find_device, open_engine
from tks_edge_runtime.build_clock import BuildClock
from tks_edge_runtime.contract import InputCheck, check_ports, timesteps_of
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.graph_check import check_graph
from tks_edge_runtime.memory import room
from tks_edge_runtime.results import Evaluation, Prediction, SelfTest, evaluated, most_probable, self_tested
from tks_edge_runtime.stream import Stream

Array = npt.NDArray[Any]

__all__ = ["DEFAULT_BACKEND", "Evaluation", "Prediction", "SelfTest", "Session", "load"]

DEFAULT_BACKEND = "onnxruntime"
_IN_HOST_MEMORY = "cpu"


def load(
    path: Path | str,
    backend: str = DEFAULT_BACKEND,
    *,
    device: str | None = None,
    threads: int | None = None,
    spinning: bool = True,
    cuda_graph: bool = False,
    steps: int | None = None,
    on_build: BuildProgress | None = None,
) -> Session:
    """Open the artifact at `path`, ready to run.

    Args:
        path: an `.onnx` file written by `tks-edge export`.
        backend: what runs it: onnxruntime, openvino, tensorrt, or one of an installed plugin.
        device: where it computes, one of the backend's `devices`; None for its first. Nothing else is taken instead.
        threads: threads inside one operator; None leaves the number to the library.
        spinning: whether idle threads wait actively; switch it off for sessions that are measured in turns.
        cuda_graph: whether the launches of a run are recorded once and replayed as one.
        steps: the T that a step artifact is run at, at most the one it was exported for; None for that one.
        on_build: told how far a build is, where the backend builds an engine before its first run.

    Raises:
        ArtifactError: the file is not an artifact, is damaged, or its graph is not the one its manifest describes.
        InputError: there is no such backend or device, or the artifact cannot be run for so many steps.
        MissingError: the backend's library, its driver or the device is missing, or there is too little memory.
    """
    # The library's own import is no part of an artifact's loading time: only the first of several would pay for it.
    device = find_device(backend, device)
    find_backend(backend).require(device)
    start = perf_counter_ns()
    artifact = Artifact.open(path)
    timesteps = timesteps_of(artifact, steps)
    shapes = check_graph(artifact.path, room() if device == _IN_HOST_MEMORY else None)
    build = BuildClock(on_build)
    engine = open_engine(
        artifact.path,
        backend,
        device=device,
        threads=threads,
        spinning=spinning,
        cuda_graph=cuda_graph,
        on_build=build,
        shapes=shapes,
    )
    load_ms = (perf_counter_ns() - start) / 1e6
    return Session(
        artifact, engine, backend=backend, device=device, timesteps=timesteps, load_ms=load_ms, build_ms=build.ms
    )


class Session:
    """An artifact with an engine that runs it; a context manager. Made by `load`.

    A step artifact is run for `timesteps` steps from rest, on a still image or as many frames, and gives the mean of
    their logits, as a static one does; `stream` runs it step by step.

    Attributes:
        artifact: the file and its manifest.
        backend: the name of what runs it.
        device: the name of where it computes.
        timesteps: the T that it is run at.
        load_ms: what opening it took, in ms, the backend's library already imported.
        build_ms: the part of that which built an engine, in ms; None where none was built.
        first_ms: what the first inference took, in ms; NaN before it.
        times: where the time of the last batch went, all its timesteps together.
        length_varies: False: every run has as many timesteps.
    """

    length_varies = False

    def __init__(
        self,
        artifact: Artifact,
        engine: Engine,
        *,
        backend: str,
        device: str,
        timesteps: int,
        load_ms: float,
        build_ms: float | None = None,
    ) -> None:
        check_ports(artifact, engine)
        self.artifact = artifact
        self.backend = backend
        self.device = device
        self.timesteps = timesteps
        self.load_ms = load_ms
        self.build_ms = build_ms
        self.first_ms = math.nan
        self.times = RunTimes(0)
        self._engine = engine
        self._check = InputCheck(artifact.manifest.batch)
        self._stream: Stream | None = None
        self._turn = Lock()
        self._closed = False

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
            batch: an array as `Manifest.batch` has it: of that shape, batch axis included, and dtype.

        Returns:
            logits `[N, K]`, float32.

        Raises:
            InputError: `batch` is no array, or of another shape or dtype; or the session is closed.
        """
        self._check.batch(batch)
        return self._timed(batch, self.timesteps)

    def _timed(self, batch: Array, timesteps: int) -> Array:
        if not math.isnan(self.first_ms):
            return self._logits(batch, timesteps)
        start = perf_counter_ns()
        logits = self._logits(batch, timesteps)
        self.first_ms = (perf_counter_ns() - start) / 1e6
        return logits

    def _logits(self, batch: Array, timesteps: int) -> Array:
        """What a static graph gives, or the mean of `timesteps` steps of a step graph, from rest."""
        engine = self._open_engine()
        if self.manifest.form != STEP:
            logits = engine.run({self.manifest.input.name: batch})["logits"]
            self.times = engine.times
            return logits
        with self._turn:
            if self._stream is None:
                self._stream = self.stream()
            self._stream.reset()
            frames = self.manifest.encoding == FRAMES
            for t in range(timesteps):
                self._stream.step(batch[:, t] if frames else batch if t == 0 else None)
            self.times = self._stream.times
            return self._stream.mean

    def stream(self) -> Stream:
        """Open a stream: the step graph, one timestep a call, its states kept on the device from call to call.

        Raises:
            InputError: the artifact is a static graph, or the session is closed.
        """
        if self.manifest.form != STEP:
            raise InputError(
                f"{self.artifact.path} is a static graph, unrolled at T={self.manifest.timesteps}: it has no state "
                "that a stream could keep. Export it with --form step."
            )
        return Stream(self.manifest, self._open_engine())

    def anytime(self, rule: ExitRule) -> Anytime:
        """Run the step graph with early exit: each sample until the rule lets it stop, at most `timesteps` steps.

        Raises:
            InputError: the artifact is a static graph, a batch of several samples is on a device where none of them can
                be exchanged, or the session is closed.
        """
        if self.manifest.form != STEP:
            raise InputError(
                f"{self.artifact.path} is a static graph, unrolled at T={self.manifest.timesteps}: it cannot stop "
                "early. Export it with --form step."
            )
        return Anytime(self, self._open_engine(), rule)

    def run(self, images: Array, *, on_progress: Callable[[float], None] | None = None) -> Array:
        """Run any number of samples, in as many static batches as that takes.

        Args:
            images: `[M, ...]`, M >= 1, with the dtype and the sample shape of `Manifest.batch` (raw pixels).
            on_progress: told the fraction that is done, 0 to 1, after each batch.

        Returns:
            logits `[M, K]`, float32.

        Raises:
            InputError: `images` is no array, or its rank, shape or dtype does not fit; or the session is closed.
        """
        return self._run(images, self.timesteps, on_progress)

    def _run(self, images: Array, timesteps: int, on_progress: Callable[[float], None] | None = None) -> Array:
        self._check.samples(images)
        size, total = self.manifest.input.shape[0], len(images)
        results = []
        for start in range(0, total, size):
            chunk = images[start : start + size]
            # A static graph has no smaller batch: the last one is filled up with copies, whose logits are cut off.
            filled = np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk), axis=0)])
            results.append(self._timed(filled, timesteps)[: len(chunk)])
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
        return most_probable(self.run(images), classes, top_k)

    def evaluate(self, on_progress: Callable[[float], None] | None = None) -> Evaluation:
        """Count the correct top-1 predictions over the whole evaluation set.

        Args:
            on_progress: told the fraction that is done, 0 to 1, after each batch.

        Raises:
            ArtifactError: there is no evaluation set beside the artifact, or it is not the one the manifest names.
        """
        inputs, labels = self.artifact.evaluation_set()
        return evaluated(self.run(inputs, on_progress=on_progress), labels)

    def self_test(self) -> SelfTest:
        """Compare the logits of the golden input with those of the trained network.

        A step artifact is run at the T that its golden logits were taken at, whatever `timesteps` is. How much they may
        differ: see `results.self_tested`.

        Raises:
            ArtifactError: there is no golden pair beside the artifact, or it is damaged.
        """
        inputs, expected = self.artifact.golden()
        return self_tested(self._run(inputs, self.manifest.timesteps), expected, self.manifest.verification)

    def close(self) -> None:
        """Free the engine. The session cannot run afterwards; a stream that is still open can, and keeps the graph."""
        if self._closed:
            return
        self._closed = True
        if self._stream is not None:
            self._stream.close()
        self._engine.close()

    def _open_engine(self) -> Engine:
        if self._closed:
            raise InputError(f"the session of {self.artifact.path.name} is closed; open another one with load().")
        return self._engine

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
