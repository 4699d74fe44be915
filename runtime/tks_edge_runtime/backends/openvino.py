"""OpenVINO on a CPU, or on a GPU of Intel's."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from time import perf_counter_ns
from typing import Any

import numpy as np

from tks_edge_runtime import machine
from tks_edge_runtime.backends.base import (
    Array,
    EngineOptions,
    NodeTime,
    Port,
    Recurrence,
    RunTimes,
    Stepper,
    check_feeds,
    split_ports,
)
from tks_edge_runtime.backends.openvino_binding import BoundStepper, not_run, port_name, reason
from tks_edge_runtime.backends.openvino_profile import SETTING, Counters
from tks_edge_runtime.errors import ArtifactError, MissingError

CPU, GPU = "cpu", "gpu"
DEVICES = (CPU, GPU)
_NAMES = {CPU: "CPU", GPU: "GPU"}
"""As the library calls them; of several GPUs, it takes its first."""
_OPTIONS = {
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
    # CPUs with bfloat16 units otherwise compute in bfloat16 by themselves, and Arm ones and all GPUs in float16: a
    # membrane close to its threshold then ends on the other side of it, and spikes flip.
    "INFERENCE_PRECISION_HINT": "f32",
    # Otherwise a matrix product with int8 weights rounds its float input to 8 bits too, in groups of 32.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "CACHE_DIR": "",
}
_ON_GPU = {"threads": "none (the GPU computes)", "timing": "host clock, copies included"}
_TELEMETRY = "openvino_telemetry"
_DTYPES = {
    "boolean": "bool",
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "i32": "int32",
    "i64": "int64",
    "i8": "int8",
    "u8": "uint8",
}


def _library() -> Any:
    try:
        return importlib.import_module("openvino") if "openvino" in sys.modules else _first_import()
    except (ImportError, RuntimeError) as error:
        raise MissingError(
            f"the backend openvino cannot be used here ({reason(error)}). Install it: {machine.pip('install openvino')}"
        ) from error


def _first_import() -> Any:
    """Import OpenVINO, with what it would load at its first graph, and without its telemetry.

    That writes an id into the home folder and reports every import; where it cannot be imported, OpenVINO puts a stub
    in its place.
    """
    modules: dict[str, Any] = sys.modules
    had, telemetry = _TELEMETRY in modules, modules.get(_TELEMETRY)
    modules[_TELEMETRY] = None
    try:
        library: Any = importlib.import_module("openvino")
    finally:
        del modules[_TELEMETRY]
        if had:
            modules[_TELEMETRY] = telemetry
    _core(library).get_property(_NAMES[CPU], "FULL_DEVICE_NAME")
    _reader(library)
    return library


@functools.cache
def _core(library: Any) -> Any:
    """The one core of this process.

    A core gives its thread a stack for signal handlers and, when it goes, puts back the one that it found. Of two cores
    the second puts back what the first has freed, and the next Ctrl-C is a segmentation fault (seen with 2026.4).
    """
    return library.Core()


def _reader(library: Any) -> Any:
    # `Core.read_model` would have the parser of every other format complain about a damaged file on standard error.
    return library.frontend.FrontEndManager().load_by_framework("onnx")


def version() -> str:
    """Import OpenVINO and return its version; MissingError where it cannot be imported."""
    return str(_library().__version__).partition("-")[0]


def require(device: str, root: Path = Path("/")) -> None:
    """MissingError where OpenVINO cannot be imported, or lists no GPU; its CPU plugin is always there."""
    listed = _core(_library()).available_devices
    if device == GPU and not any(name.partition(".")[0] == _NAMES[GPU] for name in listed):
        raise MissingError(
            f"the backend openvino cannot compute on the device gpu here: it lists {', '.join(listed)}. "
            f"{machine.openvino_gpu_advice(root)}"
        )


class OpenVinoEngine:
    """One ONNX graph in one `InferRequest`, computed in float32, in one stream; its buffers never leave it.

    `spinning` changes nothing: OpenVINO's threads sleep soon after a run, and there is no setting for it. On a GPU the
    library copies inputs and outputs within its call, so `times.compute` holds the copies.

    Attributes:
        inputs: the graph's inputs, in its order.
        outputs: the graph's outputs, in its order.
        times: where the time of the last run went.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        library = _library()
        threads, device, core = options.threads, _NAMES[options.device], _core(library)
        self.times, self._lock = RunTimes(0), Lock()
        self._library, self._path, self._device = library, path, device
        settings = dict(_OPTIONS) if threads is None else {**_OPTIONS, "INFERENCE_NUM_THREADS": str(threads)}
        settings |= SETTING if options.profiled else {}
        try:
            reader = _reader(library)
            model = reader.convert(reader.load(str(path)))
            _check_shapes(model, options.shapes or {}, path)
            self._compiled = compiled = core.compile_model(model, device, settings)
            self._request = compiled.create_infer_request()
        except ArtifactError:
            raise
        except Exception as error:  # its exceptions have no root of their own
            raise ArtifactError(f"openvino cannot load {path}: {reason(error)}. Copy or export it again.") from error
        self._counters = Counters(compiled) if options.profiled else None
        self.inputs = tuple(_port(node, path) for node in compiled.inputs)
        self.outputs = tuple(_port(node, path) for node in compiled.outputs)
        # Buffers that stay save 20 to 60 us a run against arrays that are handed over each time.
        self._given = [np.empty(port.shape, port.dtype) for port in self.inputs]
        self._results = [np.empty(port.shape, port.dtype) for port in self.outputs]
        for index, buffer in enumerate(self._given):
            self._request.set_input_tensor(index, library.Tensor(buffer, shared_memory=True))
        for index, buffer in enumerate(self._results):
            self._request.set_output_tensor(index, library.Tensor(buffer, shared_memory=True))
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self._description = {
            "library": "openvino",
            "version": version(),
            "device": f"{device} ({str(core.get_property(device, 'FULL_DEVICE_NAME')).strip()})",
            "inference_precision": _DTYPES.get(precision, precision),
            **(_on_cpu(compiled, threads) if options.device == CPU else _ON_GPU),
        }

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; calls from several threads wait for each other.

        Raises:
            InputError: the names, shapes or dtypes of `feeds` are not those of the graph's inputs.
            ArtifactError: the graph was loaded and cannot be run all the same.
        """
        check_feeds(self.inputs, feeds)
        with self._lock:
            for port, buffer in zip(self.inputs, self._given, strict=True):
                np.copyto(buffer, feeds[port.name])
            start = perf_counter_ns()
            try:
                self._request.infer(share_outputs=True)
            except Exception as error:
                raise not_run(error, self._path) from error
            self.times = RunTimes(perf_counter_ns() - start)
            if self._counters is not None:
                self._counters.add(self._request)
            return {port.name: buffer.copy() for port, buffer in zip(self.outputs, self._results, strict=True)}

    def stepper(self, states: Sequence[Recurrence]) -> Stepper:
        """Make room for running the graph step after step; what was made keeps the graph alive after `close`."""
        # On a GPU, memory of the host that it reaches without a copy.
        context = _core(self._library).get_default_context(self._device) if self._device == _NAMES[GPU] else None
        make = self._library.Tensor if context is None else context.create_host_tensor
        return BoundStepper(make, self._compiled, self._path, *split_ports(self, states), states)

    def describe(self) -> dict[str, str]:
        """Name the library, its version, the processor, and the precision and threads it really uses."""
        return dict(self._description)

    def node_times(self) -> list[list[NodeTime]]:
        """Every run's counters, which the library keeps in whole us."""
        return [] if self._counters is None else self._counters.runs

    def close(self) -> None:
        """Free the compiled graph and the buffers."""
        del self._request, self._given, self._results, self._compiled


def _check_shapes(model: Any, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Refuse a graph with other shapes than its file states."""
    for output in (output for node in model.get_ordered_ops() for output in node.outputs()):
        found = output.get_partial_shape()
        for name in output.get_names():
            if name in shapes and (found.is_dynamic or tuple(found.to_shape()) != shapes[name]):
                raise ArtifactError(
                    f"{path}: {name!r} has the shape {found}, where the file states {list(shapes[name])}. "
                    "Export it again."
                )


def _port(node: Any, path: Path) -> Port:
    name, dtype, shape = port_name(node), node.get_element_type().get_type_name(), node.get_partial_shape()
    if dtype not in _DTYPES or shape.is_dynamic:
        raise ArtifactError(f"{path}: {name!r} is {dtype}{shape}; only static tensors can be run.")
    return Port(name, tuple(shape.to_shape()), _DTYPES[dtype])


def _on_cpu(compiled: Any, threads: int | None) -> dict[str, str]:
    return {
        "threads": _threads_text(compiled.get_property("INFERENCE_NUM_THREADS"), threads),
        "spinning": "as the library decides (it has no setting)",
    }


def _threads_text(used: int, asked: int | None) -> str:
    if asked is None:
        return f"{used} (the library's default)"
    return str(used) if used == asked else f"{used} (of {asked} asked for)"
