"""The backends by name. Each is one file, and imports its library only when it is used.

Installed plugins add to them by entry points in `tks_edge.backends`, each of which gives a `Backend`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tks_edge_runtime.backends import onnxruntime, onnxruntime_devices, openvino, tensorrt
from tks_edge_runtime.backends.base import (
    Backend,
    BuildProgress,
    Engine,
    EngineOptions,
    NodeTime,
    Port,
    Recurrence,
    RunTimes,
    Stepper,
)
from tks_edge_runtime.errors import InputError, unknown
from tks_edge_runtime.plugins import BACKENDS as GROUP
from tks_edge_runtime.plugins import Plugins

__all__ = [
    "BACKENDS",
    "ENGINES_OF_TARGET",
    "PLUGINS",
    "Backend",
    "BuildProgress",
    "Engine",
    "EngineOptions",
    "NodeTime",
    "Place",
    "Port",
    "Recurrence",
    "RunTimes",
    "Stepper",
    "check_options",
    "find_backend",
    "find_device",
    "foreign_target",
    "open_engine",
]

BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(
        onnxruntime_devices.version,
        onnxruntime_devices.require,
        onnxruntime.OnnxRuntimeEngine,
        devices=onnxruntime_devices.DEVICES,
        cuda_graph_devices=onnxruntime_devices.CUDA_GRAPH_DEVICES,
    ),
    "openvino": Backend(openvino.version, openvino.require, openvino.OpenVinoEngine, devices=openvino.DEVICES),
    "tensorrt": Backend(
        tensorrt.version, tensorrt.require, tensorrt.open_artifact, devices=("cuda",), cuda_graph_devices=("cuda",)
    ),
}
"""Those that come along."""
PLUGINS = Plugins("backend", GROUP, Backend, BACKENDS)


def find_backend(name: str) -> Backend:
    """Look up a backend, among those that come along and those of installed plugins.

    Raises:
        InputError: there is none of that name; the closest one is suggested.
        PluginError: the plugin that gives it cannot be used.
    """
    return BACKENDS[name] if name in BACKENDS else PLUGINS.load(name)


Place = tuple[str, str]
"""A backend and one of its devices, by name."""

ENGINES_OF_TARGET: dict[str, tuple[Place, ...]] = {
    "onnxruntime-cpu": (("onnxruntime", "cpu"),),
    "openvino": (("openvino", "cpu"), ("openvino", "gpu")),
    "tensorrt": (("tensorrt", "cuda"), ("onnxruntime", "tensorrt")),
}
"""What a graph lowered for a target is meant for, the first choice first; any other target is for everything."""


def foreign_target(target: str, backend: str, device: str | None = None) -> str | None:
    """Say that a graph was lowered for another engine than the one that runs it; None where it fits.

    Args:
        target: the manifest's.
        backend: what runs it.
        device: where; None for the backend's first device.
    """
    if device is None and backend in BACKENDS:
        device = BACKENDS[backend].devices[0]
    meant = ENGINES_OF_TARGET.get(target)
    if meant is None or any(backend == name and device in (None, at) for name, at in meant):
        return None
    where = "" if device is None else f" on {device}"
    return f"lowered for {target} and run by {backend}{where}, which may be slow at it or compute it differently"


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
    profiled: bool = False,
) -> Engine:
    """Open the graph at `path` with the backend of that name.

    Args:
        path: the `.onnx` file.
        backend: one of `BACKENDS`, or of a plugin.
        device: where it computes, one of the backend's `devices`; None for its first. Nothing else is taken instead.
        threads: threads inside one operator, on a CPU; None leaves the number to the library.
        spinning: whether idle threads wait actively. Faster for a graph that has the machine to itself; it slows every
            other engine of the same process down, so several that take turns are opened without. A library that has no
            such setting decides for itself, and its engine says so.
        cuda_graph: whether the launches of a run are recorded once and replayed as one.
        on_build: told how far a build is, where the backend builds an engine before its first run.
        shapes: what `check_graph` found; a graph in which the library finds another shape is refused.
        profiled: whether the library's profiler times every node; see `Engine.node_times`.

    Raises:
        InputError: there is no such backend or device, `threads` is less than 1 or given for a device without threads,
            the device has no CUDA graphs, or a CUDA graph is to be profiled.
        MissingError: the library, the driver or the device is missing.
        ArtifactError: the graph is damaged, or not one that this backend can run.
    """
    found, device = find_backend(backend), find_device(backend, device)
    check_options(backend, device, threads=threads, cuda_graph=cuda_graph)
    if cuda_graph and profiled:
        raise InputError("a CUDA graph is one launch, in which no node can be timed: profile without --cuda-graph.")
    found.require(device)
    options = EngineOptions(
        device,
        threads=threads,
        spinning=spinning,
        cuda_graph=cuda_graph,
        on_build=on_build,
        shapes=shapes,
        profiled=profiled,
    )
    return found.open(Path(path), options)


def check_options(backend: str, device: str, *, threads: int | None, cuda_graph: bool) -> None:
    """Refuse what a device of a backend does not have.

    Raises:
        InputError: `threads` is less than 1 or given for a device without threads, or the device has no CUDA graphs.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; allowed are 1 and more, or none for the library's own choice.")
    if threads is not None and device != "cpu":
        raise InputError(f"threads is {threads}, but the device {device} computes on no threads; leave --threads out.")
    if cuda_graph and device not in find_backend(backend).cuda_graph_devices:
        having = [f"{name} --device {d}" for name, b in BACKENDS.items() for d in b.cuda_graph_devices]
        raise InputError(
            f"the backend {backend} has no CUDA graphs on the device {device}. "
            f"Those that have: {', '.join(having) or 'none'}."
        )
