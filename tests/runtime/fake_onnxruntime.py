"""A stand-in for an ONNX Runtime with NVIDIA GPUs: the real one computes, and this keeps the rules of the GPU's.

What only a GPU can show (speed, memory, whether CUDA works) it cannot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from tks_edge_runtime.backends.onnxruntime_devices import CUDA, PROVIDERS, TENSORRT

Array = npt.NDArray[Any]
OPTIONS = {
    PROVIDERS[CUDA]: {"use_tf32", "enable_cuda_graph"},
    PROVIDERS[TENSORRT]: {"trt_cuda_graph_enable", "trt_fp16_enable", "trt_int8_enable"},
}
"""Those of the real providers that are used."""


class FakeOrtValue:
    """An array on a device: no view of it reaches the host."""

    made = 0

    def __init__(self, shape: list[int], dtype: Any, device: str) -> None:
        FakeOrtValue.made += 1
        self.device, self.address = device, FakeOrtValue.made
        self.array = np.full(shape, 77, dtype)

    def update_inplace(self, array: Array) -> None:
        assert array.flags.c_contiguous
        assert (array.shape, array.dtype) == (self.array.shape, self.array.dtype)
        self.array[...] = array

    def numpy(self) -> Array:
        array: Array = self.array.copy()
        return array


class FakeBinding:
    """Takes arrays on the GPU alone."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.inputs: dict[str, FakeOrtValue] = {}
        self.outputs: dict[str, FakeOrtValue] = {}
        self.is_done = True

    def bind_ortvalue_input(self, name: str, value: FakeOrtValue) -> None:
        assert value.device == "cuda"
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: FakeOrtValue) -> None:
        assert value.device == "cuda"
        self.outputs[name] = value

    def synchronize_outputs(self) -> None:
        self.is_done = True

    @property
    def addresses(self) -> tuple[int, ...]:
        return tuple(value.address for value in (*self.inputs.values(), *self.outputs.values()))


class FakeRunOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class FakeSettings(onnxruntime.SessionOptions):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class FakeSession:
    """A session: the CPU must be forbidden, and a CUDA graph replays the addresses it was recorded with."""

    def __init__(self, library: FakeOnnxRuntime, path: str, settings: FakeSettings, providers: list[Any]) -> None:
        assert settings.entries["session.disable_cpu_ep_fallback"] == "1"
        self.providers = [name for name, _ in providers]
        for name, options in providers:
            unknown = set(options) - OPTIONS[name]
            assert not unknown, f"Unknown provider option: {unknown}"
        self.options: dict[str, dict[str, str]] = dict(providers)
        if library.cpu_only_operators:
            raise RuntimeError("but fallback to CPU EP has been explicitly disabled by the user.")
        self._real = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._library = library
        self._recorded: dict[str, tuple[int, ...]] = {}
        library.sessions.append(self)

    def get_providers(self) -> list[str]:
        kept = [name for name in self.providers if name not in self._library.dropped]
        return [*kept, "CPUExecutionProvider"]

    def get_inputs(self) -> Any:
        return self._real.get_inputs()

    def get_outputs(self) -> Any:
        return self._real.get_outputs()

    def io_binding(self) -> FakeBinding:
        return FakeBinding(self)

    @property
    def replays(self) -> bool:
        first = self.options[self.providers[0]]
        return "1" in (first.get("enable_cuda_graph"), first.get("trt_cuda_graph_enable"))

    def run_with_iobinding(self, binding: FakeBinding, options: FakeRunOptions | None) -> None:
        assert binding.session is self
        if self.replays:
            # The TensorRT provider records one graph, whatever its number.
            only = self.providers[0] == PROVIDERS[TENSORRT]
            number = "" if only or options is None else options.entries["gpu_graph_id"]
            assert self._recorded.setdefault(number, binding.addresses) == binding.addresses
        binding.is_done = False
        names = list(binding.outputs)
        results = self._real.run(names, {name: value.array for name, value in binding.inputs.items()})
        for name, result in zip(names, results, strict=True):
            binding.outputs[name].array[...] = result


class FakeOnnxRuntime:
    """The module `onnxruntime` of a machine with an NVIDIA GPU.

    Args:
        folder: where it was installed.
        available: the providers that this build has.
        dropped: those that a session leaves out without a word, as it does where their libraries do not load.
        broken: what allocating on the GPU says; None where that works.
        cpu_only_operators: whether the graph has nodes that no GPU provider takes.
    """

    __version__ = "1.31.1"
    ExecutionMode = onnxruntime.ExecutionMode
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel
    SessionOptions = FakeSettings
    RunOptions = FakeRunOptions

    def __init__(
        self,
        folder: Path,
        *,
        available: tuple[str, ...] = tuple(PROVIDERS.values()),
        dropped: tuple[str, ...] = (),
        broken: str | None = None,
        cpu_only_operators: bool = False,
    ) -> None:
        self.__file__ = str(folder / "onnxruntime/__init__.py")
        self.available, self.dropped, self.broken = available, dropped, broken
        self.cpu_only_operators = cpu_only_operators
        self.sessions: list[FakeSession] = []
        self.OrtValue = self

    def get_available_providers(self) -> list[str]:
        return list(self.available)

    def set_default_logger_severity(self, severity: int) -> None:
        assert severity in range(5)

    def ortvalue_from_shape_and_type(self, shape: list[int], dtype: Any, device: str) -> FakeOrtValue:
        if self.broken is not None:
            raise RuntimeError(self.broken)
        return FakeOrtValue(shape, dtype, device)

    def InferenceSession(  # noqa: N802 - its name there
        self, path: str, settings: FakeSettings, *, providers: list[Any], enable_fallback: int
    ) -> FakeSession:
        assert enable_fallback == 0
        return FakeSession(self, path, settings, providers)
