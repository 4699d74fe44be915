"""A machine with a GPU and TensorRT, where there is neither: both fakes in the places of the libraries."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.fake_builder import FakeBuilderConfig
from tests.runtime.fake_cuda import FakeCuda
from tests.runtime.fake_tensorrt import FakeTensorRT
from tks_edge_runtime.backends import cuda as cuda_module
from tks_edge_runtime.backends import tensorrt_library

# One for the whole process: Polygraphy keeps the module that it imported first.
_TENSORRT = FakeTensorRT()


@dataclass
class FakeGpu:
    """What the machine has.

    Attributes:
        cuda: the CUDA runtime.
        trt: TensorRT.
        cache: the folder of engines.
    """

    cuda: FakeCuda
    trt: FakeTensorRT
    cache: Path

    def engines(self) -> list[Path]:
        """The engines in the cache."""
        return sorted(self.cache.glob("*.engine"))

    @property
    def config(self) -> FakeBuilderConfig:
        """How the last engine was built."""
        assert self.trt.config is not None
        return self.trt.config

    def left(self) -> list[str]:
        """What is still on the GPU."""
        gc.collect()
        return self.cuda.leaks() + [type(thing).__name__ for thing in self.trt.alive]


@contextlib.contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch, cache: Path, trt: FakeTensorRT = _TENSORRT) -> Iterator[FakeGpu]:
    """Put both fakes into the places of the libraries, new and empty, until `monkeypatch` takes them out again.

    It does so in the order in which a test put things in; a context of our own would end before what the test patches.
    """
    machine = FakeGpu(FakeCuda(), trt, cache)
    trt.reset(machine.cuda)
    modules: dict[str, Any] = {"tensorrt": trt, "cuda.bindings.runtime": machine.cuda}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("TKS_EDGE_CACHE", str(cache))
    _forget()
    yield machine
    _forget()


def _forget() -> None:
    """The runtime keeps the functions of a library that it looked up once."""
    cuda_module._function.cache_clear()
    tensorrt_library.logger.cache_clear()
