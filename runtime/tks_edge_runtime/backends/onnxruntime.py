"""ONNX Runtime on a CPU, or on an NVIDIA GPU through its CUDA or TensorRT provider."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from time import perf_counter_ns
from typing import Any

from tks_edge_runtime.backends import onnxruntime_devices
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
from tks_edge_runtime.backends.onnxruntime_binding import Bound, BoundStepper, not_run, reason
from tks_edge_runtime.backends.onnxruntime_devices import CPU, PROVIDERS, TENSORRT
from tks_edge_runtime.backends.onnxruntime_profile import ProfileTrace
from tks_edge_runtime.errors import ArtifactError, InputError, MissingError

_ONLY_ERRORS, _NOTHING = 3, 4
_CPU_FORBIDDEN = "fallback to CPU EP has been explicitly disabled"
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


class OnnxRuntimeEngine:
    """One ONNX graph in one `InferenceSession`: sequential, one thread pool, every graph optimisation on.

    On a GPU every node runs there, and float32 is computed as float32: TF32 is off. Inputs are copied into buffers on
    the device and outputs out of them. The library gives no events of the device: `times.compute` is wall time until
    the device is done, `times.copies` that of the copies. With a CUDA graph the first run records it. On the device
    tensorrt the library builds TensorRT's engine whenever a graph is opened, and keeps none.

    Attributes:
        inputs: the graph's inputs, in its order.
        outputs: the graph's outputs, in its order.
        times: where the time of the last run went.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        library = onnxruntime_devices.import_library()
        self._path, self._device, self._records = path, options.device, options.cuda_graph
        self.times = RunTimes(0)
        self._trace = ProfileTrace(path) if options.profiled else None
        self._session = _session(library, path, options, self._trace)
        self.inputs = tuple(_port(node, path) for node in self._session.get_inputs())
        self.outputs = tuple(_port(node, path) for node in self._session.get_outputs())
        self._names = [port.name for port in self.outputs]
        self._description = _description(library, options)
        self._graph_ids = itertools.count(1)
        self._lock = Lock()
        self._bound: Bound | None = None
        if options.device != CPU:
            self._bound = Bound(self._session, path, options.device, self.inputs, self.outputs)
            self._run = self._bound.binding(self._next_graph())

    def _next_graph(self) -> int | None:
        """The number under which the next binding records its CUDA graph, whose addresses are its own."""
        return next(self._graph_ids) if self._records else None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; on a GPU, calls from several threads wait for each other.

        Raises:
            InputError: the names, shapes or dtypes of `feeds` are not those of the graph's inputs.
            ArtifactError: the graph was loaded and cannot be run all the same.
        """
        check_feeds(self.inputs, feeds)
        if self._bound is not None:
            with self._lock:
                self._bound.feed(feeds)
                results = self._bound.run(self._run)
                self.times = self._bound.times
                return results
        start = perf_counter_ns()
        try:
            results = self._session.run(self._names, dict(feeds))
        except Exception as error:
            raise not_run(error, self._path) from error
        self.times = RunTimes(perf_counter_ns() - start)
        return dict(zip(self._names, results, strict=True))

    def stepper(self, states: Sequence[Recurrence]) -> Stepper:
        """Make room for running the graph step after step; what was made keeps the graph alive after `close`.

        Raises:
            InputError: it would need more CUDA graphs than the device can hold.
        """
        if self._records and self._device == TENSORRT:
            raise InputError(
                "ONNX Runtime's TensorRT provider records one CUDA graph, and a step graph needs three, since its "
                "states change places. Leave --cuda-graph out, or use --device cuda or --backend tensorrt."
            )
        bound = Bound(self._session, self._path, self._device, *split_ports(self, states))
        held = {port.name: port for port in self.inputs}
        return BoundStepper(bound, [(state, held[state.input]) for state in states], self._next_graph)

    def describe(self) -> dict[str, str]:
        """Name the library, its version, the device, how it waits, and on a GPU what times are taken by."""
        return dict(self._description)

    def node_times(self) -> list[list[NodeTime]]:
        """End the profiling: by the host's clock around each node, which on a GPU only launches it."""
        return [] if self._trace is None else self._trace.read(self._session)

    def close(self) -> None:
        """Free the session, its threads and its buffers."""
        self._bound = None
        if self._trace is not None:
            self._trace.close()
        del self._session


def _session(library: Any, path: Path, options: EngineOptions, trace: ProfileTrace | None) -> Any:
    """Open the graph on the device that is asked for, and nowhere else."""
    on_gpu = options.device != CPU
    settings = library.SessionOptions()
    settings.intra_op_num_threads = options.threads or 0
    settings.inter_op_num_threads = 1
    settings.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
    settings.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = _NOTHING if on_gpu else _ONLY_ERRORS
    settings.add_session_config_entry("session.strict_shape_type_inference", "1" if options.shapes else "0")
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    if trace is not None:
        trace.prepare(settings)
    if on_gpu:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    providers = onnxruntime_devices.providers(options.device, path, cuda_graph=options.cuda_graph)
    try:
        # It would otherwise try again with other providers where one fails.
        session = library.InferenceSession(str(path), settings, providers=providers, enable_fallback=0)
    except Exception as error:  # its exceptions have no root of their own
        onnxruntime_devices.require(options.device)  # it says hardly more where a provider cannot be loaded
        if _CPU_FORBIDDEN in str(error):
            raise ArtifactError(
                f"onnxruntime cannot run all of {path} on the device {options.device}: some of its operators have a "
                "kernel for CPUs alone, and nothing is left to the CPU silently. Export it with --target generic, or "
                "use --device cpu."
            ) from error
        raise ArtifactError(
            f"onnxruntime cannot load {path}: {reason(error, path)}. Copy or export it again."
        ) from error
    used = session.get_providers()
    if used[0] != PROVIDERS[options.device]:
        raise MissingError(
            f"onnxruntime opened {path} with {used[0]} instead of {PROVIDERS[options.device]}, whose libraries it "
            "could not load. See what is there: tks-edge doctor"
        )
    return session


def _description(library: Any, options: EngineOptions) -> dict[str, str]:
    description = {"library": "onnxruntime", "version": str(library.__version__)}
    provider = PROVIDERS[options.device]
    if options.device != CPU:
        return {
            **description,
            "device": f"GPU ({provider})",
            "threads": "none (every node runs on the GPU)",
            "inference_precision": "the graph's, TF32 off",
            "cuda_graph": "on" if options.cuda_graph else "off",
            "timing": "host clock",
        }
    return {
        **description,
        "device": f"CPU ({provider})",
        "threads": str(options.threads) if options.threads else "one per physical core (the library's default)",
        "spinning": "on" if options.spinning else "off",
    }


def _port(node: Any, path: Path) -> Port:
    shape = tuple(node.shape)
    if node.type not in _DTYPES or not all(isinstance(size, int) for size in shape):
        raise ArtifactError(f"{path}: {node.name!r} is {node.type}{list(shape)}; only static tensors can be run.")
    return Port(node.name, shape, _DTYPES[node.type])
