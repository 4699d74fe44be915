"""The backends by name. Each is one file, and imports its library only when it is used."""

from __future__ import annotations

from pathlib import Path

from tks_edge_runtime.backends import onnxruntime, openvino
from tks_edge_runtime.backends.base import Backend, Engine, Port, Recurrence, Stepper
from tks_edge_runtime.errors import InputError, unknown

__all__ = [
    "BACKENDS",
    "Backend",
    "Engine",
    "Port",
    "Recurrence",
    "Stepper",
    "find_backend",
    "foreign_target",
    "open_engine",
]

BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(onnxruntime.version, onnxruntime.OnnxRuntimeEngine),
    "openvino": Backend(openvino.version, openvino.OpenVinoEngine),
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


def open_engine(path: Path | str, backend: str, *, threads: int | None = None, spinning: bool = True) -> Engine:
    """Open the graph at `path` with the backend of that name.

    Args:
        path: the `.onnx` file.
        backend: one of `BACKENDS`.
        threads: threads inside one operator; None leaves the number to the library.
        spinning: whether idle threads wait actively. Faster for a graph that has the machine to itself; it slows every
            other engine of the same process down, so several that take turns are opened without. A library that has no
            such setting decides for itself, and its engine says so.

    Raises:
        InputError: there is no such backend, or `threads` is less than 1.
        MissingError: its library is not installed.
        ArtifactError: the graph is damaged, or not one that this backend can run.
    """
    found = find_backend(backend)
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; allowed are 1 and more, or none for the library's own choice.")
    found.version()
    return found.open(Path(path), threads=threads, spinning=spinning)
