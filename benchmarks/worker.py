"""A process that holds one variant and runs it when it is told to.

Every variant has a process of its own, and they take turns: sessions with spinning threads slow each other down by
integer factors where they share one. It reads a `Job` and then requests from standard input, one JSON object a line,
and answers each with one; it ends when its input does, so it never outlives the process that started it. What the
libraries print goes to standard error.

    the job           -> {"open": true}
    {"logits": true}   -> {"logits": [[...], ...]}                  of every image of the job
    {"warm_up": s}     -> {}                                        after s seconds and 3 runs
    {"runs": k}        -> {"cpu_ms": mean, "wall_ms": [k values]}   after one run that does not count
    what fails        -> {"error": reason}
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Run = Callable[[Array], Array]
"""One inference: a batch of images in, its logits `[N, K]` out, both on the host."""

_LEAST_RUNS = 3
_REST_SECONDS = 0.005
_RESTS = 100


@dataclass(frozen=True)
class Job:
    """What a worker holds.

    Attributes:
        kind: a key of `OPENERS`.
        images: path of an `.npy` file, `[M, 3, H, W]`, uint8; runs take them in turn.
        threads: inside one operator.
        timesteps: T of a module, or of a graph of one timestep.
        graph: path of an `.onnx` file.
        backend: of `tks_edge_runtime` that runs the graph.
        states: of a graph of one timestep: the input, the output and the zero of each.
        network: a module's name in `networks.MEASURED`.
        weights: path of a module's weights, safetensors.
    """

    program: ClassVar[str] = "benchmarks.worker"
    """The module that a process runs for it."""

    kind: str
    images: str
    threads: int = 1
    timesteps: int = 1
    graph: str = ""
    backend: str = ""
    states: Sequence[tuple[str, str, int]] = ()
    network: str = ""
    weights: str = ""


def _graph(job: Job) -> Run:
    from tks_edge_runtime.backends import open_engine

    engine = open_engine(job.graph, job.backend, threads=job.threads)
    (given,), (result,) = engine.inputs, engine.outputs
    return lambda images: engine.run({given.name: images})[result.name]


def _steps(job: Job) -> Run:
    from tks_edge_runtime.backends import Recurrence, open_engine

    engine = open_engine(job.graph, job.backend, threads=job.threads)
    stepper = engine.stepper([Recurrence(*state) for state in job.states])
    given, result = engine.inputs[0].name, engine.outputs[0].name

    def run(images: Array) -> Array:
        stepper.reset()
        stepper.feed({given: images})
        total: Array = sum(stepper.step()[result] for _ in range(job.timesteps)) / np.float32(job.timesteps)
        return total

    return run


def _module(job: Job) -> Run:
    import torch

    from benchmarks.networks import find, load

    torch.set_num_threads(job.threads)
    network = load(find(job.network), Path(job.weights))

    @torch.inference_mode()
    def run(images: Array) -> Array:
        logits: Array = network(torch.from_numpy(images), job.timesteps).mean(0).numpy()
        return logits

    return run


def _spikingjelly(job: Job) -> Run:
    import torch

    from benchmarks.networks import find, load
    from benchmarks.spikingjelly_networks import MultiStep

    torch.set_num_threads(job.threads)
    network = MultiStep(load(find(job.network), Path(job.weights)), job.timesteps).eval()

    @torch.inference_mode()
    def run(images: Array) -> Array:
        logits: Array = network(torch.from_numpy(images)).numpy()
        network.reset()
        return logits

    return run


OPENERS: dict[str, Callable[[Job], Run]] = {
    "graph": _graph,
    "steps": _steps,
    "module": _module,
    "spikingjelly": _spikingjelly,
}


class Variant:
    """Something that is run again and again, and the requests it answers.

    Args:
        run_next: runs it once.
    """

    def __init__(self, run_next: Callable[[], object]) -> None:
        self._run_next = run_next

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks for; the module's docstring lists them."""
        return self._warm_up(request["warm_up"]) if "warm_up" in request else self._turn(request["runs"])

    def _turn(self, runs: int) -> dict[str, Any]:
        """Measure as many runs. The CPU time is of them all, because a thread that still runs is accounted late."""
        self._run_next()
        wall = []
        start = time.process_time_ns()
        for _ in range(runs):
            began = time.perf_counter_ns()
            self._run_next()
            wall.append((time.perf_counter_ns() - began) / 1e6)
        cpu = (time.process_time_ns() - start) / 1e6 / runs
        _rest()
        return {"cpu_ms": cpu, "wall_ms": wall}

    def _warm_up(self, seconds: float) -> dict[str, Any]:
        start, done = time.perf_counter(), 0
        while done < _LEAST_RUNS or time.perf_counter() - start < seconds:
            self._run_next()
            done += 1
        _rest()
        return {}


class _Inference(Variant):
    """A variant of a network that is open."""

    def __init__(self, job: Job) -> None:
        super().__init__(self._run_image)
        images = np.load(job.images)
        self._images = [np.ascontiguousarray(images[i : i + 1]) for i in range(len(images))]
        self._next = 0
        self._run = OPENERS[job.kind](job)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """As every variant, and the logits."""
        if "logits" in request:
            return {"logits": [self._run(image)[0].tolist() for image in self._images]}
        return super().answer(request)

    def _run_image(self) -> None:
        self._run(self._images[self._next])
        self._next = (self._next + 1) % len(self._images)


def _rest() -> None:
    """Wait until this process's threads have gone to sleep: the next turn is another variant's."""
    for _ in range(_RESTS):
        before = time.process_time()
        time.sleep(_REST_SECONDS)
        if time.process_time() - before < _REST_SECONDS / 5:
            return


def _private_output() -> TextIO:
    """The pipe to the process that asks; whatever else writes to standard output from now on goes to standard error."""
    sys.stdout.flush()
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def _failure(error: Exception) -> dict[str, str]:
    return {"error": f"{type(error).__name__}: {error}"}


def serve(open_variant: Callable[[dict[str, Any]], Variant]) -> None:
    """Open the job that comes first, then answer requests until the input ends."""
    # Ctrl-C reaches the whole process group; who asks closes the pipe, and the answers stop there.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = _private_output()
    # Whatever a library raises is this variant's result.
    try:
        variant = open_variant(json.loads(sys.stdin.readline()))
    except Exception as error:
        print(json.dumps(_failure(error)), file=replies)
        return
    print(json.dumps({"open": True}), file=replies)
    for line in sys.stdin:
        try:
            reply = variant.answer(json.loads(line))
        except Exception as error:
            reply = _failure(error)
        print(json.dumps(reply), file=replies)


if __name__ == "__main__":
    serve(lambda job: _Inference(Job(**job)))
