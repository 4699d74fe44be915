"""`--backend auto`: which backend and device run an artifact on this machine.

1. A graph that was lowered for one engine goes to that engine, or the command fails.
2. Any other goes to an NVIDIA GPU where one can be used: to TensorRT, or else to ONNX Runtime's CUDA provider.
3. Without one it goes to the CPU: int8 to OpenVINO where it is installed, since ONNX Runtime multiplies integers there
   only in graphs that were lowered for it; all else to ONNX Runtime, or to OpenVINO where that alone is installed.

Where a device or CUDA graphs are asked for, the first in this order that has them is taken. Artifacts that are measured
together get one choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tks_edge_runtime.artifact import GENERIC, Artifact
from tks_edge_runtime.backends import BACKENDS, ENGINES_OF_TARGET, Place, find_device
from tks_edge_runtime.errors import InputError, MissingError, unknown

AUTO = "auto"

_GPUS: tuple[Place, ...] = (("tensorrt", "cuda"), ("onnxruntime", "cuda"))
_INT8_ON_CPU: Place = ("openvino", "cpu")
_REST: tuple[Place, ...] = (
    ("onnxruntime", "cpu"),
    ("openvino", "cpu"),
    ("onnxruntime", "tensorrt"),
    ("openvino", "gpu"),
)
"""The last two are reached only where their device is asked for."""


@dataclass(frozen=True)
class Choice:
    """What runs an artifact: the backend, its device, and why; `reason` is None where both were asked for by name."""

    backend: str
    device: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"backend: {self.backend} on {self.device}" + (f", since {self.reason}" if self.reason else "")


def choose(
    backend: str, artifacts: Sequence[Artifact], *, device: str | None = None, cuda_graph: bool = False
) -> Choice:
    """Settle the backend and the device that run these artifacts.

    Args:
        backend: its name, or "auto" for the rule above.
        artifacts: what is to run; of these only the targets and precisions are looked at. None where they are not made
            yet, and are to be made for whatever is chosen.
        device: the name of where it must compute; None for any.
        cuda_graph: whether it must have CUDA graphs there.

    Raises:
        InputError: there is no such backend or device, or the artifacts are lowered for different engines.
        MissingError: none of those that would do can be used here.
    """
    if backend != AUTO:
        return Choice(backend, find_device(backend, device))
    _check_device(device)
    target = _common_target(artifacts)
    is_int8 = any(artifact.manifest.precision.name == "int8" for artifact in artifacts)
    places = ENGINES_OF_TARGET.get(target) or (*_GPUS, *([_INT8_ON_CPU] if is_int8 else []), *_REST)
    fitting = [place for place in places if _fits(place, device, cuda_graph)]
    if not fitting:
        wanted = "CUDA graphs" if device is None else f"the device {device}" + (" with CUDA graphs" * cuda_graph)
        raise InputError(f"nothing that runs a graph lowered for {target} has {wanted}. Name a backend with --backend.")
    lacks = []
    for place in fitting:
        lack = _lack(place)
        if lack is None:
            return Choice(*place, _reason(place, target, device))
        lacks.append(f"{' on '.join(place)}: {lack}")
    raise MissingError(f"{_demand(target, device, cuda_graph)} cannot be met. {' '.join(lacks)}")


def _lack(place: Place) -> MissingError | None:
    """What this machine lacks for it; None where it can be used."""
    backend, device = place
    try:
        BACKENDS[backend].require(device)
    except MissingError as error:
        return error
    return None


def _check_device(device: str | None) -> None:
    known = {name for backend in BACKENDS.values() for name in backend.devices}
    if device is not None and device not in known:
        raise unknown("device", device, known)


def _common_target(artifacts: Sequence[Artifact]) -> str:
    """The one engine that these are lowered for; `generic` where none of them is for one."""
    files: dict[str, str] = {}
    for artifact in artifacts:
        files.setdefault(artifact.manifest.target, artifact.path.name)
    special = [target for target in files if target != GENERIC]
    if len(special) > 1:
        which = ", ".join(f"{target} ({files[target]})" for target in special)
        options = " or ".join(f"--backend {ENGINES_OF_TARGET[target][0][0]}" for target in special)
        raise InputError(
            f"the artifacts are lowered for different engines: {which}. Give {options}, or a folder of one target."
        )
    return special[0] if special else GENERIC


def _fits(place: Place, device: str | None, cuda_graph: bool) -> bool:
    name, at = place
    if name not in BACKENDS or at not in BACKENDS[name].devices or device not in (None, at):
        return False
    return not cuda_graph or at in BACKENDS[name].cuda_graph_devices


def _reason(place: Place, target: str, device: str | None) -> str:
    if target != GENERIC:
        return f"the graph is lowered for {target}"
    if device is not None:
        return f"it is the first that computes on the device {device} here"
    if place in _GPUS:
        return "this machine has an NVIDIA GPU that it can use"
    no_gpu = "no NVIDIA GPU can be used here"
    if place == _INT8_ON_CPU:
        return f"{no_gpu}, and ONNX Runtime multiplies integers on a CPU only in graphs that are lowered for it"
    return no_gpu


def _demand(target: str, device: str | None, cuda_graph: bool) -> str:
    """What nothing here can give, in words."""
    wishes = [f"a graph lowered for {target}"] if target != GENERIC else []
    wishes += [f"the device {device}"] if device is not None else []
    wishes += ["CUDA graphs"] if cuda_graph else []
    return f"--backend auto, with {' and '.join(wishes)}," if wishes else "--backend auto"
