"""FakeTensorRT: builds and runs engines on a machine without a GPU, and insists on TensorRT's calling rules.

It stands where `tensorrt` would. What an engine computes, ONNX Runtime computes on the CPU, from and to the device
memory of a `FakeCuda`. A broken rule is a `Violation`: an address that is not set, a stream that does not exist, memory
that was freed, two threads in one context, a recording of what was never run before, an engine that is gone before its
context, bytes that were never built here. The enumerations and base classes may be the real bindings' (`api`).
"""

# ruff: noqa: N802  (the names are TensorRT's)

from __future__ import annotations

import enum
import json
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from tests.runtime.fake_cuda import FakeCuda, Violation

Array = npt.NDArray[Any]
MAGIC = b"FakeTensorRT engine\n"
_KINDS = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
    "MatMul": "MATRIX_MULTIPLY",
    "DequantizeLinear": "DEQUANTIZE",
    "QuantizeLinear": "QUANTIZE",
    "Reshape": "SHUFFLE",
    "Flatten": "SHUFFLE",
}
_DTYPES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
}
_TEXTS = {"FLOAT": "Float", "HALF": "Half", "INT8": "Int8", "UINT8": "UInt8", "BOOL": "Bool"}


def enumeration(name: str, *members: str) -> Any:
    return enum.IntEnum(name, [(member, value) for value, member in enumerate(members)])


class FakeApi:
    """The names of TensorRT that are no behaviour: enumerations, and what is derived from."""

    __version__ = "10.3.0"
    BuilderFlag = enumeration("BuilderFlag", "TF32", "FP16", "INT8")
    NetworkDefinitionCreationFlag = enumeration("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "STRONGLY_TYPED")
    MemoryPoolType = enumeration("MemoryPoolType", "WORKSPACE", "TACTIC_DRAM")
    TacticSource = enumeration("TacticSource", "CUBLAS", "CUDNN", "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    PreviewFeature = enumeration("PreviewFeature", "PROFILE_SHARING_0806")
    DeviceType = enumeration("DeviceType", "GPU", "DLA")
    ProfilingVerbosity = enumeration("ProfilingVerbosity", "LAYER_NAMES_ONLY", "NONE", "DETAILED")
    LayerInformationFormat = enumeration("LayerInformationFormat", "ONELINE", "JSON")
    DataType = enumeration("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", "BF16", "INT64")
    TensorIOMode = enumeration("TensorIOMode", "NONE", "INPUT", "OUTPUT")
    TensorLocation = enumeration("TensorLocation", "DEVICE", "HOST")
    LayerType = enumeration("LayerType", *dict.fromkeys([*_KINDS.values(), "ELEMENTWISE"]))
    Severity = enumeration("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")

    class ILogger:
        """What a logger is derived from."""

    class IProgressMonitor:
        """What a progress monitor is derived from."""


class FakeTensorRT(ModuleType):
    """The module. One process has one, since libraries keep what they imported; `reset` makes it new.

    Attributes:
        cuda: the GPU that it computes on.
        fails_with: what it says, as an error, in place of building.
        says: what it says while it builds: (severity, text).
        computes_in: the type in which an engine's layer computes in place of its own ("Float"), by the node's name.
        details: whether the inspector tells more than names.
        off_by: what is added to everything that is computed.
        phase_steps: how many steps a build has.
        on_step: called at each step of a build.
        builds: how many engines were built.
    """

    def __init__(self, api: Any = FakeApi) -> None:
        super().__init__("tensorrt")
        self.api = api
        self.reset(FakeCuda())

    def reset(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.__version__ = str(self.api.__version__)
        self.fails_with: str | None = None
        self.says: list[tuple[str, str]] = []
        self.computes_in: dict[str, str] = {}
        self.details = True
        self.off_by = 0.0
        self.phase_steps = 4
        self.on_step = lambda: None
        self.builds = 0
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.api, name)

    # The constructors; `made` lets a test put something between them and the caller.

    def Builder(self, logger: Any) -> Any:
        return self.made(FakeBuilder(self, logger))

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        return self.made(FakeOnnxParser(self, network, logger))

    def Runtime(self, logger: Any) -> Any:
        return self.made(FakeRuntime(self, logger))

    def made(self, thing: Any) -> Any:
        return thing

    def say(self, logger: Any, severity: str, text: str) -> None:
        kinds = getattr(self.api, "Severity", None) or self.api.ILogger.Severity
        logger.log(kinds.__members__[severity], text)

    def machine(self) -> dict[str, Any]:
        facts = self.cuda.properties
        return {"version": self.__version__, "gpu": facts.name.decode(), "sm": [facts.major, facts.minor]}


@dataclass
class FakeTensor:
    name: str
    dtype: Any
    shape: tuple[int, ...] = ()


@dataclass
class FakeLayer:
    name: str
    type: Any
    inputs: list[FakeTensor]
    outputs: list[FakeTensor]
    precision_is_set: bool = False

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> FakeTensor:
        return self.inputs[index]

    def get_output(self, index: int) -> FakeTensor:
        return self.outputs[index]


@dataclass
class FakeNetwork:
    flags: int
    strongly_typed: bool
    layers: list[FakeLayer] = field(default_factory=list)
    model: onnx.ModelProto | None = None

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> FakeLayer:
        return self.layers[index]

    def get_layer(self, index: int) -> FakeLayer:
        return self.layers[index]

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags & 1 << int(flag))


@dataclass
class FakeParserError:
    text: str

    def desc(self) -> str:
        return self.text

    def node_name(self) -> str:
        return "node"

    def node_operator(self) -> str:
        return "Operator"


class FakeOnnxParser:
    def __init__(self, trt: FakeTensorRT, network: FakeNetwork, logger: Any) -> None:
        self._trt, self._network, self._errors = trt, network, list[FakeParserError]()

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> FakeParserError:
        return self._errors[index]

    def parse_from_file(self, model: str) -> bool:
        try:
            session(Path(model).read_bytes())
            self._network.model = onnx.shape_inference.infer_shapes(onnx.load(model))
        except Exception as error:
            self._errors.append(FakeParserError(str(error)))
            return False
        self._network.layers = self._layers(self._network.model.graph)
        return True

    def _layers(self, graph: onnx.GraphProto) -> list[FakeLayer]:
        values = [*graph.input, *graph.value_info, *graph.output]
        kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
        types = self._trt.DataType.__members__

        def tensor(name: str) -> FakeTensor:
            return FakeTensor(name, types[_DTYPES[(kinds | constants)[name]]])

        return [
            FakeLayer(
                node.name or node.output[0],
                self._trt.LayerType.__members__[_KINDS.get(node.op_type, "ELEMENTWISE")],
                # Constants are part of a layer, except of one that decodes them.
                [tensor(name) for name in node.input if name not in constants or node.op_type == "DequantizeLinear"],
                [tensor(name) for name in node.output],
            )
            for node in graph.node
        ]


class FakeTimingCache:
    def __init__(self, timings: set[str]) -> None:
        self.timings = timings

    def combine(self, input_cache: FakeTimingCache, ignore_mismatch: bool) -> bool:
        self.timings |= input_cache.timings
        return True

    def serialize(self) -> FakeHostMemory:
        return FakeHostMemory(json.dumps(sorted(self.timings)).encode())


class FakeHostMemory(bytes):
    """A buffer of TensorRT's."""


class FakeBuilderConfig:
    def __init__(self, trt: FakeTensorRT) -> None:
        self._trt = trt
        self.flags = {"TF32"}
        self.limits: dict[str, int] = {}
        self.tactic_sources = 0xFF
        self.progress_monitor: Any = None
        self.profiling_verbosity: Any = None
        self.builder_optimization_level = 3
        self.max_aux_streams = -1
        self.engine_capability = 0
        self.num_optimization_profiles = 0
        self.DLA_core = -1
        self.default_device_type = trt.DeviceType.GPU
        self._timings: FakeTimingCache | None = None

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag.name)

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self.flags

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.limits[pool.name] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self.limits.get(pool.name, 0)

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self.tactic_sources = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        return self.tactic_sources

    def get_preview_feature(self, feature: Any) -> bool:
        return False

    def get_quantization_flag(self, flag: Any) -> bool:
        return False

    def create_timing_cache(self, serialized_timing_cache: bytes) -> FakeTimingCache | None:
        try:
            return FakeTimingCache(set(json.loads(serialized_timing_cache or b"[]")))
        except ValueError:
            return None

    def set_timing_cache(self, cache: FakeTimingCache, ignore_mismatch: bool) -> bool:
        self._timings = cache
        return True

    def get_timing_cache(self) -> FakeTimingCache | None:
        return self._timings


class FakeBuilder:
    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        self._trt, self._logger = trt, logger
        self.config: FakeBuilderConfig | None = None

    def create_network(self, flags: int = 0) -> Any:
        typed = bool(flags & 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        return self._trt.made(FakeNetwork(flags, typed))

    def create_builder_config(self) -> Any:
        self._trt.config = FakeBuilderConfig(self._trt)
        return self._trt.made(self._trt.config)

    def build_serialized_network(self, network: FakeNetwork, config: FakeBuilderConfig) -> Any:
        trt, model = self._trt, network.model
        if not network.strongly_typed or config.flags & {"FP16", "INT8", "BF16", "FP8"}:
            raise Violation("a network that is not strongly typed, or a flag of a precision")
        if model is None:
            raise Violation("a network without a graph")
        for severity, text in trt.says:
            trt.say(self._logger, severity, text)
        inputs = [dim for value in model.graph.input for dim in value.type.tensor_type.shape.dim]
        fails = "there is no optimization profile" if any(d.dim_param for d in inputs) else trt.fails_with
        if fails is not None or not self._phases(config.progress_monitor):
            trt.say(self._logger, "ERROR", fails or "the build was cancelled")
            return None
        trt.builds += 1
        if config._timings is not None:
            config._timings.timings |= {layer.name for layer in network.layers}
        head = {**trt.machine(), "layers": self._inspected(network.layers)}
        data = model.SerializeToString()
        return trt.made(FakeHostMemory(MAGIC + json.dumps(head).encode() + b"\n" + data))

    def _phases(self, monitor: Any) -> bool:
        if monitor is None:
            return True
        monitor.phase_start("Building Engine", None, 2)
        going = True
        for outer, inner in enumerate(("Reading", "Timing")):
            monitor.phase_start(inner, "Building Engine", self._trt.phase_steps)
            for step in range(self._trt.phase_steps):
                self._trt.on_step()
                going = going and monitor.step_complete(inner, step)
            monitor.phase_finish(inner)
            going = going and monitor.step_complete("Building Engine", outer)
        monitor.phase_finish("Building Engine")
        return going

    def _inspected(self, layers: list[FakeLayer]) -> list[dict[str, Any]]:
        makers = {tensor.name: layer for layer in layers for tensor in layer.outputs}
        found = []
        for layer in layers:
            kinds = [_TEXTS.get(tensor.dtype.name, tensor.dtype.name) for tensor in layer.inputs]
            first = makers.get(layer.inputs[0].name) if layer.inputs else None
            if layer.type.name in ("CONVOLUTION", "MATRIX_MULTIPLY") and first and first.type.name == "DEQUANTIZE":
                kinds = ["Int8" for _ in kinds]
            kinds = [self._trt.computes_in.get(layer.name, kind) for kind in kinds]
            found.append(
                {
                    "Name": f"{layer.name}_myl0_{len(found)}",
                    "LayerType": "gemm" if layer.type.name == "MATRIX_MULTIPLY" else "kgen",
                    "Inputs": [{"Name": "x", "Format/Datatype": kind} for kind in kinds],
                    "Outputs": [],
                    "Metadata": f"[ONNX Layer: {layer.name}]",
                }
            )
        copy = {"Name": f"Reformatting CopyNode for {layers[0].name}", "LayerType": "Reformat", "Inputs": []}
        return [copy, *found]


class FakeRuntime:
    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        data = bytes(serialized_engine)
        if not data.startswith(MAGIC):
            raise Violation("bytes that were never built here are deserialized: that runs foreign code")
        head, _, model = data.removeprefix(MAGIC).partition(b"\n")
        facts = json.loads(head)
        layers = facts.pop("layers")
        if facts != self._trt.machine():
            self._trt.say(self._logger, "ERROR", f"the engine is for {facts}")
            return None
        return self._trt.made(FakeEngine(self._trt, self, model, layers))


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class FakeEngine:
    def __init__(self, trt: FakeTensorRT, runtime: FakeRuntime, model: bytes, layers: list[dict[str, Any]]) -> None:
        self.trt, self.runtime, self.layers = trt, weakref.ref(runtime), layers
        self.session = session(model)
        graph = onnx.load_from_string(model).graph
        self.tensors = {value.name: value for value in (*graph.input, *graph.output)}
        self.input_names = [value.name for value in graph.input]
        trt.alive.add(self)

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self.trt.TensorIOMode
        return modes.INPUT if name in self.input_names else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(dim.dim_value for dim in self.tensors[name].type.tensor_type.shape.dim)

    def get_tensor_dtype(self, name: str) -> Any:
        return self.trt.DataType.__members__[_DTYPES[self.tensors[name].type.tensor_type.elem_type]]

    def get_tensor_location(self, name: str) -> Any:
        return self.trt.TensorLocation.DEVICE

    def create_execution_context(self) -> Any:
        return self.trt.made(FakeContext(self))

    def create_engine_inspector(self) -> Any:
        return self.trt.made(FakeInspector(self))


class FakeInspector:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        if format.name != "JSON":
            raise Violation("the inspector is asked for text that nothing here reads")
        layers = self._engine.layers
        return json.dumps({"Layers": layers if self._engine.trt.details else [layer["Name"] for layer in layers]})


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self._trt = engine.trt
        self._engine = weakref.ref(engine)
        self._addresses: dict[str, int] = {}
        self._ran_with: dict[str, int] | None = None
        self._busy = threading.Lock()
        engine.trt.alive.add(self)

    def engine(self) -> FakeEngine:
        engine = self._engine()
        if engine is None or engine.runtime() is None:
            raise Violation("a context is used whose engine, or the engine's runtime, is gone")
        return engine

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine().tensors:
            return False
        if not memory:
            raise Violation(f"{name} is given a null pointer")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not self._busy.acquire(blocking=False):
            raise Violation("two threads use one context at the same time")
        try:
            time.sleep(0)  # lets another thread in that should not come
            return self._execute(stream_handle)
        finally:
            self._busy.release()

    def _execute(self, stream_handle: int) -> bool:
        engine, addresses = self.engine(), dict(self._addresses)
        missing = engine.tensors.keys() - addresses.keys()
        if missing:
            raise Violation(f"no address is set for {', '.join(sorted(missing))}")
        written = [addresses[name] for name in engine.tensors if name not in engine.input_names]
        if len({*written}) != len(written) or {*written} & {addresses[name] for name in engine.input_names}:
            raise Violation("an output lies where an input or another output is")
        stream = self._trt.cuda.stream(stream_handle, "execute_async_v3")
        if stream.recording is not None and self._ran_with != addresses:
            raise Violation("a run is recorded that never ran with these addresses")
        if stream.recording is None:
            self._ran_with = addresses
        self._trt.cuda.enqueue(stream, lambda: self._compute(addresses), "execute_async_v3")
        return True

    def _compute(self, addresses: dict[str, int]) -> None:
        engine, cuda = self.engine(), self._trt.cuda
        feeds = {}
        for name in engine.input_names:
            shape, dtype = engine.get_tensor_shape(name), dtype_of(engine, name)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            block = cuda.block(addresses[name], size, f"the input {name}")
            feeds[name] = np.frombuffer(bytes(block[:size]), dtype).reshape(shape)
        names = [name for name in engine.tensors if name not in engine.input_names]
        for name, result in zip(names, engine.session.run(names, feeds), strict=True):
            array = np.ascontiguousarray(result)
            if self._trt.off_by and array.dtype.kind == "f":
                array = array + array.dtype.type(self._trt.off_by)
            cuda.block(addresses[name], array.nbytes, f"the output {name}")[: array.nbytes] = array.tobytes()


def dtype_of(engine: FakeEngine, name: str) -> np.dtype[Any]:
    return helper.tensor_dtype_to_np_dtype(engine.tensors[name].type.tensor_type.elem_type)
