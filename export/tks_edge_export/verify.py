"""Is the graph still the network? Every spike of every LIF layer is judged, one decision at a time.

The graph runs in ONNX Runtime with all its spikes as extra outputs. The PyTorch network then runs on the same inputs,
and each of its LIF layers passes on the spikes that the graph fired there, after working out which it would have fired
itself. So both sides always decide from the same past, and a difference is never the echo of an earlier one. A
difference counts as borderline, not as a fault, only where the membrane is within rounding of the threshold: the two
sum the products of a convolution in different orders.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, nn

from tks_edge_export.errors import VerificationError
from tks_edge_export.lif_steps import is_spikes, spikes_name
from tks_edge_export.passes.reshape_chain import static_shape
from tks_edge_export.unroll import LOGITS
from tks_edge_models import LIF, LIFParameters
from tks_edge_models.lif import charge, reset

Array = npt.NDArray[Any]

ULPS = 32
"""How far a borderline membrane may be from the threshold, in units in the last place of the layer's largest membrane.

A sum of a few thousand products in another order differs by a few units in practice; a wrong constant, a lost state or
a swapped step moves membranes by many thousands.
"""
LOGIT_ULPS = 128
"""The bound on the difference of the logits, given the same spikes, in units in the last place of the largest one."""
_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class LayerComparison:
    """One LIF layer over all samples and timesteps.

    `differing` decisions differ, `faults` of them with the membrane further from the threshold than rounding explains;
    `first_fault` is the first timestep (from 0) with one. `largest_distance` is the largest |membrane - threshold| of a
    differing decision; `smallest_margin` the smallest of all decisions. `fire_rate` is spikes a neuron and timestep.
    """

    path: str
    decisions: int
    differing: int
    faults: int
    first_fault: int | None
    largest_distance: float
    smallest_margin: float
    fire_rate: float


@dataclass(frozen=True)
class Comparison:
    """A graph against its network, over `samples` inputs; `layers` are in the order of execution."""

    samples: int
    layers: tuple[LayerComparison, ...]
    max_logit_difference: float
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
        VerificationError: the graph cannot run, or does not hold the network's LIF layers.
    """
    replayed = _Replayed(network)
    runner = _GraphWithSpikes(graph, replayed.paths, timesteps)
    logit_difference = largest_logit = 0.0
    differing = unexplained = done = 0
    for batch, real in _batches(inputs, runner.batch_size):
        logits, spikes = runner.run(batch)
        with torch.inference_mode():
            pixels = torch.from_numpy(batch)
            explained = replayed.feed(spikes, real)
            same_spikes = replayed.network(pixels, timesteps).mean(0).numpy()[:real]
            free = network(pixels, timesteps).mean(0).numpy()[:real]
        logits = logits[:real]
        logit_difference = max(logit_difference, float(np.abs(logits - same_spikes).max()))
        largest_logit = max(largest_logit, float(np.abs(same_spikes).max()))
        wrong = logits.argmax(1) != free.argmax(1)
        differing += int(wrong.sum())
        unexplained += int((wrong & ~explained()).sum())
        done += real
        if on_progress is not None:
            on_progress(done)
    return Comparison(
        samples=done,
        layers=tuple(replayed.results()),
        max_logit_difference=logit_difference,
        logit_tolerance=LOGIT_ULPS * _EPSILON * max(1.0, largest_logit),
        predictions_differing=differing,
        predictions_unexplained=unexplained,
    )


def _batches(inputs: Array, size: int) -> Iterator[tuple[Array, int]]:
    """Static batches of `size` samples and how many of each are real; the last is filled up with its last sample."""
    for start in range(0, len(inputs), size):
        batch = inputs[start : start + size]
        real = len(batch)
        if real < size:
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - real, axis=0)])
        yield np.ascontiguousarray(batch), real


class _GraphWithSpikes:
    """A graph in ONNX Runtime that also gives the spikes of every LIF layer and timestep.

    Refuses a graph that lacks one of the layers `paths`, has one too many, or is of another T.
    """

    def __init__(self, path: Path, paths: list[str], timesteps: int) -> None:
        model = ir.load(path)
        (graph_input,) = model.graph.inputs
        self.batch_size = _rows(graph_input)
        self._timesteps = timesteps
        self._input = graph_input.name
        spikes = {str(value.name): value for node in model.graph for value in node.outputs if is_spikes(value.name)}
        self._names = {path: spikes_name(path) for path in paths}
        for name in sorted(self._names.values() ^ spikes.keys()):
            what = "has, and the network has not," if name in spikes else "lacks"
            raise VerificationError(f"the graph {what} the LIF layer of {name!r}: it is of another network.")
        for name, value in spikes.items():
            if _rows(value) != timesteps * self.batch_size:
                steps = _rows(value) // self.batch_size
                raise VerificationError(f"{name!r} is laid out at T={steps}, not at T={timesteps}.")
        outputs = model.graph.outputs
        outputs.extend(value for value in spikes.values() if value not in outputs)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # PyTorch's threads take turns with these; spinning ones would keep the cores busy in between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            serialized = ir.to_proto(model).SerializeToString()
            self._session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise VerificationError(f"{path} cannot be loaded by ONNX Runtime: {str(error).splitlines()[0]}") from error

    def run(self, batch: Array) -> tuple[Array, dict[str, Array]]:
        """The logits, and the spikes `[T, N, ...]` of every layer by module path."""
        logits, *values = self._session.run([LOGITS, *self._names.values()], {self._input: batch})
        shape = (self._timesteps, self.batch_size)
        return logits, {
            path: spikes.reshape(*shape, *spikes.shape[1:]) for path, spikes in zip(self._names, values, strict=True)
        }


def _rows(value: ir.Value) -> int:
    shape = static_shape(value)
    if not shape:
        raise VerificationError(f"{value.name!r} has no static shape; this is no graph of tks-edge.")
    return shape[0]


class _Replayed:
    """A copy of a network whose LIF layers pass on given spikes and record where they would have decided otherwise."""

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).cpu().eval()
        self._layers: dict[str, _ReplayedLIF] = {}
        for path, layer in list(self.network.named_modules()):
            if isinstance(layer, LIF):
                self._layers[path] = _ReplayedLIF(layer.params)
                self.network.set_submodule(path, self._layers[path])

    @property
    def paths(self) -> list[str]:
        return list(self._layers)

    def feed(self, spikes: dict[str, Array], real: int) -> Callable[[], npt.NDArray[np.bool_]]:
        """Set the spikes of the next run; the result tells, after it, which samples had a borderline decision."""
        for path, layer in self._layers.items():
            layer.given, layer.real = torch.from_numpy(spikes[path]), real
            layer.differing_samples = torch.zeros(real, dtype=torch.bool)

        def explained() -> npt.NDArray[np.bool_]:
            flags = [layer.differing_samples.numpy() for layer in self._layers.values()]
            return np.logical_or.reduce(flags) if flags else np.zeros(real, dtype=np.bool_)

        return explained

    def results(self) -> Iterator[LayerComparison]:
        """The findings of all runs so far, in the order in which the layers ran."""
        for path, layer in sorted(self._layers.items(), key=lambda item: item[1].order):
            yield layer.result(path)


class _ReplayedLIF(nn.Module):
    _runs = 0

    def __init__(self, params: LIFParameters) -> None:
        super().__init__()
        self.params = params
        self.given = torch.empty(0)
        self.real = 0
        self.differing_samples = torch.empty(0, dtype=torch.bool)
        self.order = 0
        self.decisions = self.differing = self.faults = self.fired = 0
        self.first_fault: int | None = None
        self.largest_distance = 0.0
        self.smallest_margin = float("inf")

    def forward(self, x: Tensor) -> Tensor:
        _ReplayedLIF._runs += 1
        self.order = self.order or _ReplayedLIF._runs
        given = self.given.reshape(x.shape)
        state: Tensor | None = None
        for t, current in enumerate(x.unbind(0)):
            h = charge(current, state, self.params)
            self._judge(h[: self.real], given[t, : self.real], t)
            state = reset(h, given[t], self.params)
        return given

    def _judge(self, h: Tensor, given: Tensor, timestep: int) -> None:
        distance = (h - self.params.v_threshold).abs()
        differs = (h >= self.params.v_threshold) != (given != 0)
        scale = max(abs(self.params.v_threshold), float(h.abs().max()))
        faults = int((differs & (distance > ULPS * _EPSILON * scale)).sum())
        self.decisions += h.numel()
        self.differing += int(differs.sum())
        self.faults += faults
        self.fired += int((given != 0).sum())
        if faults and (self.first_fault is None or timestep < self.first_fault):
            self.first_fault = timestep
        if bool(differs.any()):
            self.largest_distance = max(self.largest_distance, float(distance[differs].max()))
            self.differing_samples |= differs.flatten(1).any(1)
        self.smallest_margin = min(self.smallest_margin, float(distance.min()))

    def result(self, path: str) -> LayerComparison:
        return LayerComparison(
            path=path,
            decisions=self.decisions,
            differing=self.differing,
            faults=self.faults,
            first_fault=self.first_fault,
            largest_distance=self.largest_distance,
            smallest_margin=self.smallest_margin,
            fire_rate=self.fired / max(1, self.decisions),
        )
