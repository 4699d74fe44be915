"""A process that holds a network of another library: in its own code, as its own plain ONNX file, or as ours.

It takes turns with others as `worker` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from benchmarks.worker import Variant, serve

Array = npt.NDArray[Any]
Run = Callable[[], Array]


@dataclass(frozen=True)
class Job:
    """What a worker holds.

    Attributes:
        kind: "eager", their code; "onnx", an ONNX file of theirs or ours.
        case: a name in `elsewhere_networks.CASES`.
        timesteps: T.
        inputs: path of an `.npy` file: frames `[T, 1, ...]` for their code, what a file takes for that.
        graph: path of the ONNX file.
        threads: inside one operator.
        libraries: the folder that the library is in.
    """

    program: ClassVar[str] = "benchmarks.adopted_worker"

    kind: str
    case: str
    timesteps: int
    inputs: str
    graph: str = ""
    threads: int = 1
    libraries: str = ""


def _eager(job: Job) -> Run:
    import torch

    from benchmarks.elsewhere_networks import CASES, logits, reset

    torch.set_num_threads(job.threads)
    case = CASES[job.case]
    module, frames = case.network(job.timesteps), torch.from_numpy(np.load(job.inputs))

    @torch.inference_mode()
    def run() -> Array:
        result: Array = logits(case, module, frames).numpy()
        reset(module)
        return result

    return run


def _onnx(job: Job) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(job.graph, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.ascontiguousarray(np.load(job.inputs))}

    def run() -> Array:
        result: Array = session.run(None, feed)[0]
        return result

    return run


class _Held(Variant):
    def __init__(self, job: Job) -> None:
        self._run = {"eager": _eager, "onnx": _onnx}[job.kind](job)
        super().__init__(self._run)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """As every variant, and the logits."""
        return {"logits": self._run().tolist()} if "logits" in request else super().answer(request)


def _open(document: dict[str, Any]) -> Variant:
    import sys
    import warnings

    warnings.simplefilter("ignore")  # of the libraries
    job = Job(**document)
    if job.libraries:
        sys.path.append(job.libraries)
    return _Held(job)


if __name__ == "__main__":
    serve(_open)
