"""FakeEngine: TensorRT's runtime, engine, inspector and context; ONNX Runtime computes behind them.

See `fake_tensorrt`, whose part it is.
"""

from __future__ import annotations

import json
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from tests.runtime.fake_cuda import Violation
from tests.runtime.fake_tensorrt_api import DTYPES, MAGIC

if TYPE_CHECKING:
    from tests.runtime.fake_tensorrt import FakeTensorRT


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
        return [str(name) for name in self.tensors][index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self.trt.TensorIOMode
        return modes.INPUT if name in self.input_names else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(dim.dim_value for dim in self.tensors[name].type.tensor_type.shape.dim)

    def get_tensor_dtype(self, name: str) -> Any:
        return self.trt.DataType.__members__[DTYPES[self.tensors[name].type.tensor_type.elem_type]]

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
        self.profiler: Any = None
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
        if self.profiler is not None:
            self._report(engine, recorded=stream.recording is not None)
        return True

    def _report(self, engine: FakeEngine, *, recorded: bool) -> None:
        if recorded:
            raise Violation("a run whose layers are timed is recorded")
        if not isinstance(self.profiler, self._trt.IProfiler):
            raise Violation("a profiler that is not derived from IProfiler")
        for index, layer in enumerate(engine.layers):
            self.profiler.report_layer_time(layer["Name"], (index + 1) / 8)

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
