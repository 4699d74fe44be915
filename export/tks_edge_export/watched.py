"""A graph in ONNX Runtime: as it is shipped, and with values inside it, such as all spikes, as extra outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from tks_edge_export.errors import VerificationError
from tks_edge_export.lif_steps import NEXT_STATE, is_spikes, spikes_name
from tks_edge_export.unroll import INPUT, LOGITS, LOGITS_PER_STEP
from tks_edge_export.values import Array, static_shape
from tks_edge_runtime.errors import ArtifactError


@dataclass(frozen=True)
class Outputs:
    """The logits `[N, K]`, those of every step `[T, N, K]` where the graph gives them, and all spikes `[T, N, n]`."""

    logits: Array
    logits_per_step: Array | None
    spikes: dict[str, Array]


def batches(inputs: Array, size: int) -> Iterator[tuple[Array, int]]:
    """Static batches of `size` samples and how many of each are real; the last is filled up with its last sample."""
    for start in range(0, len(inputs), size):
        batch = inputs[start : start + size]
        real = len(batch)
        if real < size:
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - real, axis=0)])
        yield np.ascontiguousarray(batch), real


class DrivenGraph:
    """A graph in ONNX Runtime that is run for all timesteps, a step graph from rest; some values are looked at besides.

    Args:
        model: the graph; it gets the watched values as outputs.
        watched: values of it.
        timesteps: T.
        frames: whether every timestep has an input of its own, `[N, T, ...]`.
        rest: the state that a step graph starts from, by input name; zeros where it is not named.

    Attributes:
        batch_size: N.
        is_step: whether it is a step graph.
    """

    def __init__(
        self,
        model: ir.Model,
        watched: Sequence[ir.Value],
        timesteps: int,
        *,
        frames: bool = False,
        rest: Mapping[str, float] | None = None,
    ) -> None:
        pixels, *states = model.graph.inputs
        self.batch_size = _shape(pixels)[0]
        self.is_step = bool(states)
        self._timesteps = timesteps
        self._frames = frames
        self._rest = {str(state.name): _filled(state, (rest or {}).get(str(state.name), 0.0)) for state in states}
        model.graph.outputs.extend(value for value in watched if not value.is_graph_output())
        self._names = [str(value.name) for value in model.graph.outputs]
        self._session = _session(model)

    def run(self, batch: Array) -> dict[str, Array]:
        """The outputs and watched values by name; of a step graph those of every step, stacked."""
        if not self.is_step:
            return dict(zip(self._names, self._session.run(self._names, {INPUT: batch}), strict=True))
        states, steps = self._rest, []
        for t in range(self._timesteps):
            frame = np.ascontiguousarray(batch[:, t]) if self._frames else batch
            outputs = dict(zip(self._names, self._session.run(self._names, {INPUT: frame, **states}), strict=True))
            states = {name: outputs[f"{name}{NEXT_STATE}"] for name in states}
            steps.append(outputs)
        return {name: np.stack([outputs[name] for outputs in steps]) for name in self._names}


class WatchedGraph:
    """Runs all timesteps of a static graph, or of a step graph from rest, as it is shipped and with its spikes.

    Args:
        path: the ONNX file.
        layers: the module paths of the network's LIF layers, of those too that never run.
        timesteps: T.
        frames: as for `DrivenGraph`.
        rest: as for `DrivenGraph`.

    Raises:
        ArtifactError: the file is damaged, or ONNX Runtime cannot load it.
        VerificationError: the graph has a layer that the network has not, or is of another T.
    """

    def __init__(
        self,
        path: Path,
        layers: list[str],
        timesteps: int,
        *,
        frames: bool = False,
        rest: Mapping[str, float] | None = None,
    ) -> None:
        try:
            model = ir.load(path)
            self._shipped = DrivenGraph(model, [], timesteps, frames=frames, rest=rest)
        except VerificationError:
            raise
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ArtifactError(f"{path} cannot be loaded ({reason}). Copy or export it again.") from error
        self.batch_size = self._shipped.batch_size
        self._timesteps = timesteps
        spikes = {str(value.name): value for node in model.graph for value in node.outputs if is_spikes(value.name)}
        # A layer that never runs is in no graph; one that runs and is missing is found when it is replayed.
        self._names = {layer: spikes_name(layer) for layer in layers if spikes_name(layer) in spikes}
        self._check(path, spikes)
        self._watched = DrivenGraph(model, [*spikes.values()], timesteps, frames=frames, rest=rest)

    def _check(self, path: Path, spikes: dict[str, ir.Value]) -> None:
        for name in sorted(spikes.keys() - self._names.values()):
            raise VerificationError(f"{path} has {name!r}, a LIF layer that the network has not: it is of another one.")
        laid_out = 1 if self._shipped.is_step else self._timesteps
        for name, value in spikes.items():
            steps = self._steps(_shape(value), laid_out)
            if steps != laid_out:
                raise VerificationError(
                    f"{path} has {name!r} laid out at T={steps}, and says that its T is {laid_out}. Export it again."
                )

    def _steps(self, shape: tuple[int, ...], expected: int) -> int:
        """How many timesteps spikes of this shape have: `[T * N, ...]`, or `[T, N, ...]` where no pass changed it."""
        keeps_time = shape[:2] == (expected, self.batch_size)
        return expected if keeps_time else shape[0] // self.batch_size

    def run(self, batch: Array) -> Outputs:
        """Run all timesteps, looking at the spikes."""
        values = self._watched.run(batch)
        shape = (self._timesteps, self.batch_size, -1)
        spikes = {path: values[name].astype(np.float32).reshape(shape) for path, name in self._names.items()}
        if self._watched.is_step:
            return Outputs(values[LOGITS].mean(0), values[LOGITS], spikes)
        return Outputs(values[LOGITS], values.get(LOGITS_PER_STEP), spikes)

    def run_as_shipped(self, batch: Array) -> Array:
        """The logits of the unchanged graph, which an engine may fuse across what `run` looks at."""
        logits = self._shipped.run(batch)[LOGITS]
        return logits.mean(0) if self._shipped.is_step else logits


def _session(model: ir.Model) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # PyTorch's threads take turns with these; spinning ones would keep the cores busy in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _filled(value: ir.Value, number: float) -> Array:
    return np.full(_shape(value), number, dtype=None if value.dtype is None else value.dtype.numpy())


def _shape(value: ir.Value) -> tuple[int, ...]:
    shape = static_shape(value)
    if not shape:
        raise VerificationError(f"{value.name!r} has no static shape; this is no graph of tks-edge.")
    return shape
