"""FakeBuilder: TensorRT's parser, network, configuration and builder; what it builds is the graph with a head.

See `fake_tensorrt`, whose part it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from tests.runtime.fake_cuda import Violation
from tests.runtime.fake_engine import session
from tests.runtime.fake_tensorrt_api import DTYPES, KINDS, MAGIC, TEXTS

if TYPE_CHECKING:
    from tests.runtime.fake_tensorrt import FakeTensorRT


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
            return FakeTensor(name, types[DTYPES[(kinds | constants)[name]]])

        return [
            FakeLayer(
                node.name or node.output[0],
                self._trt.LayerType.__members__[KINDS.get(node.op_type, "ELEMENTWISE")],
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
        found: list[dict[str, Any]] = []
        for layer in layers:
            kinds = [TEXTS.get(tensor.dtype.name, tensor.dtype.name) for tensor in layer.inputs]
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
