"""Is the graph still the network? Every spike of every LIF layer is judged, one decision at a time.

The graph runs in ONNX Runtime with all its spikes as extra outputs. The PyTorch network then runs on the same inputs,
and each of its LIF layers passes on the spikes that the graph fired there, after working out which it would have fired
itself. So both sides always decide from the same past, and a difference is never the echo of an earlier one. A
difference counts as borderline, not as a fault, only where the membrane is within rounding of the threshold: the two
sum the products of a convolution in different orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
import torch
from torch import nn

from tks_edge_export.errors import VerificationError
from tks_edge_export.lif_steps import is_spikes, spikes_name
from tks_edge_export.replay import EPSILON, LayerComparison, Replayed
from tks_edge_export.unroll import LOGITS, LOGITS_PER_STEP
from tks_edge_export.values import static_shape
from tks_edge_runtime.errors import ArtifactError

Array = npt.NDArray[Any]

LOGIT_ULPS = 128
"""The bound on the difference of the logits, given the same spikes, in units in the last place of the largest one."""


@dataclass(frozen=True)
class Comparison:
    """A graph against its network, over `samples` inputs.

    `layers` are in the order of execution. `max_logit_difference` is to the network's logits for the same spikes, those
    of every step included; `max_watched_difference` between the graph as shipped and with its spikes as outputs.
    """

    samples: int
    layers: tuple[LayerComparison, ...]
    max_logit_difference: float
    max_watched_difference: float
    logit_tolerance: float
    predictions_differing: int
    predictions_unexplained: int

    @property
    def decisions(self) -> int:
        """How many spikes were judged."""
        return sum(layer.decisions for layer in self.layers)

    @property
    def borderline(self) -> int:
        """How many differ with the membrane within rounding of the threshold."""
        return sum(layer.differing - layer.faults for layer in self.layers)

    def problem(self) -> str | None:
        """What does not hold, in one sentence that names the first layer and timestep; None when all holds."""
        for layer in self.layers:
            if layer.faults:
                timestep = (layer.first_fault or 0) + 1
                return (
                    f"the spikes differ first in layer {layer.path!r} at timestep {timestep}: {layer.faults} of "
                    f"{layer.decisions} decisions, up to {layer.largest_distance:.3g} from the threshold"
                )
        if not self.max_logit_difference <= self.logit_tolerance:
            return (
                f"every spike agrees, but the logits differ by {self.max_logit_difference:.3g} "
                f"(allowed: {self.logit_tolerance:.3g}): the fault lies behind the last LIF layer"
            )
        if not self.max_watched_difference <= self.logit_tolerance:
            return (
                f"it computes other logits when its spikes are not watched, by {self.max_watched_difference:.3g} "
                f"(allowed: {self.logit_tolerance:.3g}): the engine changes it"
            )
        if self.predictions_unexplained:
            return f"{self.predictions_unexplained} of {self.samples} predictions differ where no spike is borderline"
        return None

    def check(self, what: Path | str) -> None:
        """Raise a VerificationError that names `what` if something does not hold."""
        problem = self.problem()
        if problem is not None:
            raise VerificationError(f"{what} is not the network it was made from: {problem}.")


def compare(
    graph: Path, network: nn.Module, inputs: Array, timesteps: int, on_progress: Callable[[int], None] | None = None
) -> Comparison:
    """Compare the graph in an ONNX file with the network it was made from, on real samples.

    Args:
        graph: an unrolled graph, with the names that `unroll` gives.
        network: called as `network(inputs, timesteps)`; it is not changed.
        inputs: `[M, ...]`, in the dtype of the graph's input.
        timesteps: T of the graph.
        on_progress: called with the number of samples done.

    Raises:
        ArtifactError: the file is damaged, or ONNX Runtime cannot load it.
        VerificationError: the graph does not hold the network's LIF layers at this T.
    """
    replayed = Replayed(network)
    runner = _Graph(graph, replayed.paths, timesteps)
    logit_difference = watched_difference = largest_logit = 0.0
    differing = unexplained = done = 0
    for batch, real in _batches(inputs, runner.batch_size):
        outputs, spikes = runner.run(batch)
        expected = replayed.run(batch, timesteps, spikes, real)
        with torch.inference_mode():
            free = network(torch.from_numpy(batch), timesteps).mean(0).numpy()[:real]
        logits = outputs[LOGITS][:real]
        logit_difference = max(logit_difference, _distance(logits, expected.mean(0)))
        if LOGITS_PER_STEP in outputs:
            logit_difference = max(logit_difference, _distance(outputs[LOGITS_PER_STEP][:, :real], expected))
        watched_difference = max(watched_difference, _distance(logits, runner.run_as_shipped(batch)[:real]))
        largest_logit = max(largest_logit, float(np.abs(expected).max()))
        wrong = logits.argmax(1) != free.argmax(1)
        differing += int(wrong.sum())
        unexplained += int((wrong & ~replayed.borderline_samples()).sum())
        done += real
        if on_progress is not None:
            on_progress(done)
    return Comparison(
        samples=done,
        layers=tuple(replayed.results()),
        max_logit_difference=logit_difference,
        max_watched_difference=watched_difference,
        logit_tolerance=LOGIT_ULPS * EPSILON * max(1.0, largest_logit),
        predictions_differing=differing,
        predictions_unexplained=unexplained,
    )


def _distance(got: Array, expected: Array) -> float:
    """The largest absolute difference; infinite where a value is."""
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    return float(np.abs(got - expected).max())


def _batches(inputs: Array, size: int) -> Iterator[tuple[Array, int]]:
    """Static batches of `size` samples and how many of each are real; the last is filled up with its last sample."""
    for start in range(0, len(inputs), size):
        batch = inputs[start : start + size]
        real = len(batch)
        if real < size:
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - real, axis=0)])
        yield np.ascontiguousarray(batch), real


class _Graph:
    """A graph in ONNX Runtime, as it is shipped, and once more with the spikes of every LIF layer as extra outputs.

    Refuses a graph that lacks one of the layers `paths`, has one too many, or is of another T.
    """

    def __init__(self, path: Path, paths: list[str], timesteps: int) -> None:
        try:
            model = ir.load(path)
            self._shipped = _session(ir.to_proto(model).SerializeToString())
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ArtifactError(f"{path} cannot be loaded ({reason}). Copy or export it again.") from error
        (graph_input,) = model.graph.inputs
        self.batch_size = _rows(graph_input)
        self._timesteps = timesteps
        self._input = graph_input.name
        self._outputs = [str(value.name) for value in model.graph.outputs]
        spikes = {str(value.name): value for node in model.graph for value in node.outputs if is_spikes(value.name)}
        self._names = {path: spikes_name(path) for path in paths}
        for name in sorted(self._names.values() ^ spikes.keys()):
            what = "has, and the network has not," if name in spikes else "lacks"
            raise VerificationError(f"the graph {what} the LIF layer of {name!r}: it is of another network.")
        for name, value in spikes.items():
            if _rows(value) != timesteps * self.batch_size:
                steps = _rows(value) // self.batch_size
                raise VerificationError(f"{name!r} is laid out at T={steps}, not at T={timesteps}.")
        model.graph.outputs.extend(value for name, value in spikes.items() if name not in self._outputs)
        self._watched = _session(ir.to_proto(model).SerializeToString())

    def run(self, batch: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        """The graph's own outputs by name, and the spikes `[T, N, ...]` of every layer by module path."""
        names = [*self._outputs, *self._names.values()]
        values = dict(zip(names, self._watched.run(names, {self._input: batch}), strict=True))
        shape = (self._timesteps, self.batch_size)
        spikes = {path: values[name].reshape(*shape, *values[name].shape[1:]) for path, name in self._names.items()}
        return {name: values[name] for name in self._outputs}, spikes

    def run_as_shipped(self, batch: Array) -> Array:
        """The logits of the unchanged graph, which an engine may fuse across what `run` looks at."""
        logits: Array = self._shipped.run([LOGITS], {self._input: batch})[0]
        return logits


def _session(graph: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # PyTorch's threads take turns with these; spinning ones would keep the cores busy in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _rows(value: ir.Value) -> int:
    shape = static_shape(value)
    if not shape:
        raise VerificationError(f"{value.name!r} has no static shape; this is no graph of tks-edge.")
    return shape[0]
