"""The backends by name. Each is one file, and imports its library only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tks_edge_runtime.backends import onnxruntime, openvino
from tks_edge_runtime.backends.base import (
    Backend,
    BuildProgress,
    Engine,
    EngineOptions,
    Port,
    Recurrence,
    RunTimes,
    Stepper,
)
from tks_edge_runtime.errors import InputError, unknown

__all__ = [
    "BACKENDS",
    "Backend",
    "BuildProgress",
    "Engine",
    "EngineOptions",
    "Port",
    "Recurrence",
    "RunTimes",
    "Stepper",
    "find_backend",
    "find_device",
    "foreign_target",
    "open_engine",
]

BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(onnxruntime.version, onnxruntime.require, onnxruntime.OnnxRuntimeEngine),
    "openvino": Backend(openvino.version, openvino.require, openvino.OpenVinoEngine),
}


def find_backend(name: str) -> Backend:
    """Look up a backend; InputError with the closest name for one that does not exist."""
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    return BACKENDS[name]


_BACKEND_OF_TARGET = {"onnxruntime-cpu": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}


def foreign_target(target: str, backend: str) -> str | None:
    """Say that a graph was lowered for another engine than the one that runs it; None where it fits."""
    if _BACKEND_OF_TARGET.get(target, backend) == backend:
        return None
    return f"lowered for {target} and run by {backend}, which may be slow at it or compute it differently"


def find_device(backend: str, device: str | None) -> str:
    """Look up a device of a backend by name; its first where `device` is None.

    Raises:
        InputError: there is no such backend, or it has no such device.
    """
    devices = find_backend(backend).devices
    if device is None:
        return devices[0]
    if device not in devices:
        raise unknown(f"device of the backend {backend}", device, devices)
    return device


def open_engine(
    path: Path | str,
    backend: str,
    *,
    device: str | None = None,
    threads: int | None = None,
    spinning: bool = True,
    cuda_graph: bool = False,
    on_build: BuildProgress | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Engine:
    """Open the graph at `path` with the backend of that name.

    Args:
        path: the `.onnx` file.
        backend: one of `BACKENDS`.
        device: where it computes, one of the backend's `devices`; None for its first. Nothing else is taken instead.
        threads: threads inside one operator; None leaves the number to the library.
        spinning: whether idle threads wait actively. Faster for a graph that has the machine to itself; it slows every
            other engine of the same process down, so several that take turns are opened without. A library that has no
            such setting decides for itself, and its engine says so.
        cuda_graph: whether the launches of a run are recorded once and replayed as one.
        on_build: told how far a build is, where the backend builds an engine before its first run.
        shapes: what `check_graph` found; a graph in which the library finds another shape is refused.

    Raises:
        InputError: there is no such backend or device, `threads` is less than 1, or the device has no CUDA graphs.
        MissingError: the library, the driver or the device is missing.
        ArtifactError: the graph is damaged, or not one that this backend can run.
    """
    found, device = find_backend(backend), find_device(backend, device)
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; allowed are 1 and more, or none for the library's own choice.")
    if cuda_graph and device not in found.cuda_graph_devices:
        having = [f"{name} --device {d}" for name, b in BACKENDS.items() for d in b.cuda_graph_devices]
        raise InputError(
            f"the backend {backend} has no CUDA graphs on the device {device}. "
            f"Those that have: {', '.join(having) or 'none'}."
        )
    found.require(device)
    options = EngineOptions(
        device, threads=threads, spinning=spinning, cuda_graph=cuda_graph, on_build=on_build, shapes=shapes
    )
    return found.open(Path(path), options)
