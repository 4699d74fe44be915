"""PyTorch as an engine of the runtime, so that a network is tested and measured in it as its graphs are elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tks_edge_models import Network
from tks_edge_runtime.artifact import Manifest
from tks_edge_runtime.backends import NodeTime, Port, Recurrence, RunTimes, Stepper
from tks_edge_runtime.backends.base import check_feeds
from tks_edge_runtime.errors import InputError, MissingError

Array = npt.NDArray[Any]
DEVICES = ("cuda", "cpu")
_WARM_UP_RUNS = 3


def require(device: str) -> None:
    """MissingError where PyTorch cannot compute on the device."""
    if device == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA"
        raise MissingError(f"PyTorch {torch.__version__} (built for {built}) sees no GPU.")


class TorchEngine:
    """A network in eager PyTorch, in float32 without TF32, or its launches recorded once as a CUDA graph.

    On a GPU the times are those of events around the copies and around the network.

    Attributes:
        inputs: that of the manifest.
        outputs: `logits` alone, the mean over T.
        times: where the time of the last run went.
    """

    def __init__(self, network: Network, manifest: Manifest, device: str, *, cuda_graph: bool = False) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        self._network = network.to(device)
        self._timesteps, self._device, self._cuda_graph = manifest.timesteps, device, cuda_graph
        given = manifest.input
        self.inputs = (Port(given.name, given.shape, given.dtype),)
        self.outputs = (Port("logits", (given.shape[0], len(manifest.classes)), "float32"),)
        self.times = RunTimes(0)
        self._input = torch.zeros(given.shape, dtype=getattr(torch, given.dtype), device=device)
        self._recorded: tuple[torch.cuda.CUDAGraph, Tensor] | None = self._record() if cuda_graph else None

    @torch.inference_mode()
    def _record(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        # Libraries allocate and choose kernels in their first runs, which a recording must not see.
        make_stream: Any = torch.cuda.Stream
        stream = make_stream()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                self._forward()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._forward()
        return graph, logits

    def _forward(self) -> Tensor:
        logits: Tensor = self._network(self._input, self._timesteps).mean(0)
        return logits

    def _compute(self) -> Tensor:
        if self._recorded is None:
            return self._forward()
        graph, logits = self._recorded
        graph.replay()
        return logits

    @torch.inference_mode()
    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once: host arrays in, host arrays out."""
        check_feeds(self.inputs, feeds)
        given = torch.from_numpy(np.ascontiguousarray(feeds[self.inputs[0].name]))
        if self._device == "cpu":
            start = perf_counter_ns()
            logits = self._network(given, self._timesteps).mean(0).numpy()
            self.times = RunTimes(perf_counter_ns() - start)
            return {"logits": logits}
        make_event: Any = torch.cuda.Event
        marks = [make_event(enable_timing=True) for _ in range(4)]
        marks[0].record()
        self._input.copy_(given)
        marks[1].record()
        start = perf_counter_ns()
        result = self._compute()
        enqueued = perf_counter_ns() - start
        marks[2].record()
        logits = result.cpu().numpy()
        marks[3].record()
        marks[3].synchronize()
        taken = [round(1e6 * before.elapsed_time(after)) for before, after in itertools.pairwise(marks)]
        self.times = RunTimes(taken[1], enqueued, taken[0] + taken[2])
        return {"logits": logits}

    def stepper(self, states: Sequence[Recurrence]) -> Stepper:
        """Refused: the network keeps its states itself."""
        raise InputError(f"PyTorch runs the whole network; it has no step graph with {len(states)} states.")

    def describe(self) -> dict[str, str]:
        """Name PyTorch, its version and the device."""
        on_gpu = self._device != "cpu"
        return {
            "library": "torch",
            "version": torch.__version__,
            "device": torch.cuda.get_device_name() if on_gpu else "CPU",
            "threads": "none (the GPU computes)" if on_gpu else str(torch.get_num_threads()),
            "inference_precision": "float32, TF32 off",
            **({"cuda_graph": "on" if self._cuda_graph else "off", "timing": "device events"} if on_gpu else {}),
        }

    def node_times(self) -> list[list[NodeTime]]:
        """Nothing: it is never opened to be profiled."""
        return []

    def close(self) -> None:
        """Free the network and its graph."""
        del self._network, self._recorded
