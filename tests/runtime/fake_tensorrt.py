"""FakeTensorRT: builds and runs engines on a machine without a GPU, and insists on TensorRT's calling rules.

It stands where `tensorrt` would. What an engine computes, ONNX Runtime computes on the CPU, from and to the device
memory of a `FakeCuda`. A broken rule is a `Violation`: an address that is not set, a stream that does not exist, memory
that was freed, two threads in one context, a recording of what was never run before, an engine that is gone before its
context, bytes that were never built here. The enumerations and base classes may be the real bindings' (`api`).
"""

# ruff: noqa: N802  (the names are TensorRT's)

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.runtime.fake_builder import FakeBuilder, FakeBuilderConfig, FakeOnnxParser
from tests.runtime.fake_cuda import FakeCuda
from tests.runtime.fake_engine import FakeRuntime
from tests.runtime.fake_tensorrt_api import FakeApi


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
        config: how the last one was.
    """

    def __init__(self, api: Any = FakeApi) -> None:
        super().__init__("tensorrt")
        self.api = api
        self.reset(FakeCuda())

    def reset(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.__version__ = str(self.api.__version__)
        self.config: FakeBuilderConfig | None = None
        self.fails_with: str | None = None
        self.says: list[tuple[str, str]] = []
        self.computes_in: dict[str, str] = {}
        self.details = True
        self.off_by = 0.0
        self.phase_steps = 4
        self.on_step: Callable[[], object] = lambda: None
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
