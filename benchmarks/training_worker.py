"""A process that trains one variant when it is told to: the same weights, batches, loss and optimiser in all of them.

It answers what `worker` answers (a run is a whole training step: forward, loss, backward, AdamW), and

    {"first": true}   -> {"loss": value, "spikes": [[count, digest], ...]}    of the first step, by LIF layer
    {"memory": k}     -> {"baseline_mib": a, "peak_mib": b}                  of k steps, after as many
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.spikingjelly_networks import LIBRARY, MultiStep
from benchmarks.worker import Variant, serve
from tks_edge_models import LIF, LIFParameters, Network, create
from tks_edge_models.activations import compact_activations
from tks_edge_models.lif_kernels import select_kernel

SPIKINGJELLY = "spikingjelly"
LOOP = "loop"
"""The kernel that is none: `lif.step` in a loop, under autograd."""
_BATCHES = 4
_CLASSES = 10


@dataclass(frozen=True)
class TrainingJob:
    """What a worker trains.

    Attributes:
        kernel: of `lif_kernels`, `LOOP`, or `SPIKINGJELLY` for the same network there.
        network: a name of `registry.MODELS`.
        batch: images a step.
        timesteps: T.
        frames: every timestep has an input of its own; otherwise one image is shown at all of them.
        compact: within `compact_activations`.
        channels_last: the weights' memory format.
        double: in float64.
        surrogate: of the neurons; "quadratic", "atan" or "sigmoid".
        size: of an image, in pixels a side.
        threads: of PyTorch.
    """

    program: ClassVar[str] = "benchmarks.training_worker"

    kernel: str
    network: str
    batch: int
    timesteps: int
    frames: bool = False
    compact: bool = False
    channels_last: bool = False
    double: bool = False
    surrogate: str = "quadratic"
    size: int = 32
    threads: int = 1


class _Training(Variant):
    """A training under way."""

    def __init__(self, job: TrainingJob) -> None:
        super().__init__(self._step)
        torch.set_num_threads(job.threads)
        torch.manual_seed(0)
        network = create(
            job.network, num_classes=_CLASSES, image_size=job.size, lif=LIFParameters(surrogate=job.surrogate)
        )
        self._batches = [_batch(job) for _ in range(_BATCHES)]
        self._next = 0
        self._forward, self._trained = _theirs(network, job) if job.kernel == SPIKINGJELLY else _ours(network, job)
        self._optimizer = torch.optim.AdamW(self._trained.parameters(), lr=1e-3)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """As every variant, and the module's own two."""
        if "first" in request:
            return self._first()
        return self._memory(request["memory"]) if "memory" in request else super().answer(request)

    def _step(self) -> float:
        pixels, labels = self._batches[self._next % _BATCHES]
        self._next += 1
        self._optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self._forward(pixels), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def _first(self) -> dict[str, Any]:
        found: list[tuple[int, str]] = []

        def note(_: nn.Module, __: Any, spikes: Tensor) -> None:
            fired = spikes.detach().to(torch.uint8)
            found.append((int(fired.sum()), hashlib.sha256(fired.contiguous().numpy().tobytes()).hexdigest()))

        hooks = [
            layer.register_forward_hook(note)
            for layer in self._trained.modules()
            if isinstance(layer, LIF) or type(layer).__name__ == "LIFNode"
        ]
        loss = self._step()
        for hook in hooks:
            hook.remove()
        return {"loss": loss, "spikes": found}

    def _memory(self, steps: int) -> dict[str, Any]:
        """Resident memory before steps and at its peak within them; weights and the optimiser's state are in both."""
        for _ in range(steps):
            self._step()
        self._optimizer.zero_grad()
        gc.collect()
        # What the C library keeps for later would hide what the next step needs.
        ctypes.CDLL(None).malloc_trim(0)
        baseline = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # begins the peak anew
        for _ in range(steps):
            self._step()
        return {"baseline_mib": baseline, "peak_mib": _resident("VmHWM")}


def _batch(job: TrainingJob) -> tuple[Tensor, Tensor]:
    shape = (job.batch, 3, job.size, job.size)
    pixels = torch.randint(0, 256, (job.timesteps, *shape) if job.frames else shape, dtype=torch.uint8)
    return pixels, torch.randint(0, _CLASSES, (job.batch,))


def _ours(network: Network, job: TrainingJob) -> tuple[Callable[[Tensor], Tensor], nn.Module]:
    if job.double:
        network.double()
    if job.channels_last:
        network.to(memory_format=torch.channels_last)
    if job.kernel != LOOP:
        select_kernel(network, job.kernel, "cpu", recompute=job.compact)
    # Frames bring their T.
    timesteps = None if job.frames else job.timesteps

    def forward(pixels: Tensor) -> Tensor:
        with compact_activations(network) if job.compact else contextlib.nullcontext():
            logits: Tensor = network(pixels, timesteps)
        return logits.mean(0)

    return forward, network


def _theirs(network: Network, job: TrainingJob) -> tuple[Callable[[Tensor], Tensor], nn.Module]:
    surrogate = importlib.import_module(f"{LIBRARY}.activation_based.surrogate")
    same = MultiStep(network, job.timesteps)
    derivative = {
        "quadratic": surrogate.PiecewiseQuadratic(alpha=2.0),
        "atan": surrogate.ATan(alpha=2.0),
        "sigmoid": surrogate.Sigmoid(alpha=4.0),
    }[job.surrogate]
    neurons: list[Any] = [layer for layer in same.modules() if type(layer).__name__ == "LIFNode"]
    for neuron in neurons:
        neuron.surrogate_function = derivative
        neuron.detach_reset = LIFParameters().detach_reset
    if job.double:
        same.double()
    if job.channels_last:
        same.to(memory_format=torch.channels_last)

    def forward(pixels: Tensor) -> Tensor:
        same.reset()
        if not job.frames:
            return same(pixels)  # type: ignore[no-any-return]
        return same.network(same.normalize(pixels)).mean(0)  # type: ignore[no-any-return]

    return forward, same


def _resident(entry: str) -> float:
    """A memory entry of this process, in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(entry + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {entry}: this benchmark needs Linux")


if __name__ == "__main__":
    serve(lambda job: _Training(TrainingJob(**job)))
