"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from tks_edge_runtime.backends.base import (
    Array,
    EngineOptions,
    Port,
    Recurrence,
    RunTimes,
    Stepper,
    check_feeds,
    split_ports,
)
from tks_edge_runtime.errors import ArtifactError, MissingError

_PROVIDER = "CPUExecutionProvider"
_DEVICE = "cpu"
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


def require(device: str) -> None:  # noqa: ARG001
    """MissingError where ONNX Runtime cannot be imported; its CPU provider is always there."""
    _library()


class OnnxRuntimeEngine:
    """One ONNX graph in one `InferenceSession`: sequential, one thread pool, every graph optimisation on.

    Attributes:
        inputs: the graph's inputs, in its order.
        outputs: the graph's outputs, in its order.
        times: where the time of the last run went.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        library = _library()
        self._path = path
        self.times = RunTimes(0)
        threads, spinning = options.threads, options.spinning
        settings = library.SessionOptions()
        settings.intra_op_num_threads = threads or 0
        settings.inter_op_num_threads = 1
        settings.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.log_severity_level = _ONLY_ERRORS
        settings.add_session_config_entry("session.strict_shape_type_inference", "1" if options.shapes else "0")
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        try:
            self._session = library.InferenceSession(str(path), settings, providers=[_PROVIDER])
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
        start = perf_counter_ns()
        try:
            results = self._session.run(self._names, dict(feeds))
        except Exception as error:
            raise _not_run(error, self._path) from error
        self.times = RunTimes(perf_counter_ns() - start)
        return dict(zip(self._names, results, strict=True))

    def stepper(self, states: Sequence[Recurrence]) -> Stepper:
        """Make room for running the graph step after step; what was made keeps the graph alive after `close`."""
        return _BoundStepper(self._session, self._path, self.inputs, *split_ports(self, states), states)

    def describe(self) -> dict[str, str]:
        """Name the library, its version, the device, and how it waits."""
        return dict(self._description)

    def close(self) -> None:
        """Free the session and its threads."""
        del self._session


class _BoundStepper:
    """A session with three bindings of its ports to buffers on the device.

    The first step reads its states from buffers that nothing writes to, and writes buffers A; the next reads A and
    writes B, then B and A take turns. What is bound stays bound, so between two steps there is nothing to copy or to
    call.
    """

    def __init__(
        self,
        session: Any,
        path: Path,
        ports: Sequence[Port],
        inputs: tuple[Port, ...],
        outputs: tuple[Port, ...],
        states: Sequence[Recurrence],
    ) -> None:
        self._session = session
        self._path = path
        self._ports = inputs
        self.times = RunTimes(0)
        self._inputs = {port.name: _buffer(port) for port in inputs}
        self._outputs = {port.name: _buffer(port) for port in outputs}
        held = {port.name: port for port in ports}
        start, a, b = ([_buffer(held[state.input]) for state in states] for _ in range(3))
        for state, value in zip(states, start, strict=True):
            value.update_inplace(np.full(held[state.input].shape, state.start, held[state.input].dtype))
        self._bindings = [self._bound(states, read, written) for read, written in ((start, a), (a, b), (b, a))]
        self._next = 0

    def _bound(self, states: Sequence[Recurrence], read: Sequence[Any], written: Sequence[Any]) -> Any:
        binding = self._session.io_binding()
        for name, value in self._inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            binding.bind_ortvalue_output(name, value)
        for state, old, new in zip(states, read, written, strict=True):
            binding.bind_ortvalue_input(state.input, old)
            binding.bind_ortvalue_output(state.output, new)
        return binding

    def feed(self, feeds: Mapping[str, Array]) -> None:
        """Copy the inputs that are no states to the device; InputError where they do not fit."""
        check_feeds(self._ports, feeds)
        for name, value in self._inputs.items():
            value.update_inplace(np.ascontiguousarray(feeds[name]))

    def step(self) -> dict[str, Array]:
        """Run once; ArtifactError where the graph cannot be run."""
        start = perf_counter_ns()
        try:
            self._session.run_with_iobinding(self._bindings[self._next])
        except Exception as error:
            raise _not_run(error, self._path) from error
        self.times = RunTimes(perf_counter_ns() - start)
        self._next = 2 if self._next == 1 else 1
        # `numpy` gives a view of a buffer on the CPU, which the next step writes over.
        return {name: np.array(value.numpy()) for name, value in self._outputs.items()}

    def reset(self) -> None:
        """Start again from the states of the first step."""
        self._next = 0

    def close(self) -> None:
        """Free the buffers."""
        del self._bindings, self._inputs, self._outputs, self._session


def _buffer(port: Port) -> Any:
    """A tensor on the device, of undefined content."""
    return _library().OrtValue.ortvalue_from_shape_and_type(list(port.shape), np.dtype(port.dtype), _DEVICE)


def _port(node: Any, path: Path) -> Port:
    shape = tuple(node.shape)
    if node.type not in _DTYPES or not all(isinstance(size, int) for size in shape):
        raise ArtifactError(f"{path}: {node.name!r} is {node.type}{list(shape)}; only static tensors can be run.")
    return Port(node.name, shape, _DTYPES[node.type])


def _not_run(error: Exception, path: Path) -> ArtifactError:
    return ArtifactError(f"onnxruntime cannot run {path}: {_reason(error, path)}. Export it again.")


def _reason(error: Exception, path: Path) -> str:
    """Shorten an ONNX Runtime error to its first line, without its prefixes."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    text = text.rpartition(" : ")[2] if text.startswith("[ONNXRuntimeError]") else text
    return text.replace(f"Load model from {path} failed:", "")[:_LONGEST_REASON].rstrip(". ")
