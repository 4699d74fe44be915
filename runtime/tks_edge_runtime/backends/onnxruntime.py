"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tks_edge_runtime.backends.base import Array, Port, check_feeds
from tks_edge_runtime.errors import ArtifactError, MissingError

_PROVIDER = "CPUExecutionProvider"
_ONLY_ERRORS = 3
_LONGEST_REASON = 160
_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
}


def _library() -> Any:
    # Read once, when the library loads: from 1.32 on it otherwise writes telemetry files and may report home.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingError(
            f"the backend onnxruntime cannot be used here ({error}). Install it: pip install onnxruntime"
        ) from error


def version() -> str:
    """Import ONNX Runtime and return its version; MissingError where it cannot be imported."""
    return str(_library().__version__)


class OnnxRuntimeEngine:
    """One ONNX graph in one `InferenceSession`: sequential, one thread pool, every graph optimisation on."""

    def __init__(self, path: Path, *, threads: int | None = None, spinning: bool = True) -> None:
        library = _library()
        self._path = path
        options = library.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _ONLY_ERRORS
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        try:
            self._session = library.InferenceSession(str(path), options, providers=[_PROVIDER])
        except Exception as error:  # its exceptions have no root of their own
            raise ArtifactError(
                f"onnxruntime cannot load {path}: {_reason(error, path)}. Copy or export it again."
            ) from error
        self.inputs = tuple(_port(node, path) for node in self._session.get_inputs())
        self.outputs = tuple(_port(node, path) for node in self._session.get_outputs())
        self._names = [port.name for port in self.outputs]
        self._description = {
            "library": "onnxruntime",
            "version": str(library.__version__),
            "device": f"CPU ({_PROVIDER})",
            "threads": str(threads) if threads else "one per physical core (the library's default)",
            "spinning": "on" if spinning else "off",
        }

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once.

        Raises:
            InputError: the names, shapes or dtypes of `feeds` are not those of the graph's inputs.
            ArtifactError: the graph was loaded and cannot be run all the same.
        """
        check_feeds(self.inputs, feeds)
        try:
            results = self._session.run(self._names, dict(feeds))
        except Exception as error:
            reason = _reason(error, self._path)
            raise ArtifactError(f"onnxruntime cannot run {self._path}: {reason}. Export it again.") from error
        return dict(zip(self._names, results, strict=True))

    def describe(self) -> dict[str, str]:
        """Name the library, its version, the device, and how it waits."""
        return dict(self._description)

    def close(self) -> None:
        """Free the session and its threads."""
        del self._session


def _port(node: Any, path: Path) -> Port:
    shape = tuple(node.shape)
    if node.type not in _DTYPES or not all(isinstance(size, int) for size in shape):
        raise ArtifactError(f"{path}: {node.name!r} is {node.type}{list(shape)}; only static tensors can be run.")
    return Port(node.name, shape, _DTYPES[node.type])


def _reason(error: Exception, path: Path) -> str:
    """Shorten an ONNX Runtime error to its first line, without its prefixes."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    text = text.rpartition(" : ")[2] if text.startswith("[ONNXRuntimeError]") else text
    return text.replace(f"Load model from {path} failed:", "")[:_LONGEST_REASON].rstrip(". ")
