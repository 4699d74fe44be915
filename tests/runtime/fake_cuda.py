"""FakeCuda: the part of the CUDA runtime API that the backends use, on a machine without a GPU.

It stands where `cuda.bindings.runtime` would, keeps device memory that the host cannot reach, and runs what is queued
on a stream only when somebody waits for it: results that are read too early are the old ones. What a real driver
punishes with undefined behaviour, or with an error that nobody may see, is a `Violation` here.
"""

# ruff: noqa: N802, N803, N815  (the names are CUDA's)

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

_DEVICE_BASE = 0x7000_0000_0000
_PAGE = 4096


class Violation(BaseException):
    """A rule of CUDA or TensorRT was broken. No handler of ours for errors may swallow it."""


class FakeError(enum.IntEnum):
    """The error codes that occur here."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorNotReady = 600
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class FakeCopyKind(enum.IntEnum):
    """Which way a copy goes."""

    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class FakeCaptureMode(enum.IntEnum):
    """Whom a recording forbids what would spoil it."""

    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1
    cudaStreamCaptureModeRelaxed = 2


@dataclass(eq=False)
class FakeHandle:
    """A stream, an event, a graph or one that can be launched."""

    kind: str
    number: int
    alive: bool = True
    queue: list[Callable[[], None]] = field(default_factory=list)
    recording: list[Callable[[], None]] | None = None
    recorded: tuple[Callable[[], None], ...] = ()
    time: int | None = None

    def __int__(self) -> int:
        return self.number


class FakeCuda:
    """One process's view of one GPU.

    Attributes:
        error: what every call returns instead of working, where it is not success: as on a machine without driver.
        memory: how many bytes the GPU has.
        calls: the names of the functions that were called.
    """

    cudaError_t = FakeError
    cudaMemcpyKind = FakeCopyKind
    cudaStreamCaptureMode = FakeCaptureMode
    cudaStreamNonBlocking = 1
    cudaEventDefault = 0

    def __init__(self) -> None:
        self.error = FakeError.cudaSuccess
        self.memory = 1 << 30
        self.calls: list[str] = []
        self.properties = SimpleNamespace(name=b"FakeGPU Orin", major=8, minor=7, multiProcessorCount=8, integrated=1)
        self.driver = 12060
        self._device: dict[int, bytearray] = {}
        self._host: dict[int, Any] = {}
        self._handles: list[FakeHandle] = []
        self._next = _DEVICE_BASE
        self._clock = 0

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not name.startswith("cuda") or not callable(found) or isinstance(found, type):
            return found

        def called(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if self.error != FakeError.cudaSuccess and not name.startswith(("cudaGetError", "cudaRuntimeGet")):
                return self._code(self.error), None
            code, *results = found(*arguments)
            return (self._code(code), *results)

        return called

    def _code(self, code: FakeError) -> Any:
        """The code as the library's own enumeration has it."""
        return getattr(self.cudaError_t, code.name)

    # What is there at the end.

    def leaks(self) -> list[str]:
        """What was made and never freed."""
        memory = [f"{len(block)} bytes of device memory" for block in self._device.values()]
        host = [f"{len(block)} bytes of host memory" for block in self._host.values()]
        return memory + host + [handle.kind for handle in self._handles if handle.alive]

    # Facts.

    def cudaGetDeviceCount(self) -> tuple[FakeError, int]:
        return FakeError.cudaSuccess, 1

    def cudaGetDeviceProperties(self, device: int) -> tuple[FakeError, Any]:
        return FakeError.cudaSuccess, self.properties

    def cudaDriverGetVersion(self) -> tuple[FakeError, int]:
        return FakeError.cudaSuccess, self.driver

    def cudaRuntimeGetVersion(self) -> tuple[FakeError, int]:
        return FakeError.cudaSuccess, 13000

    def cudaMemGetInfo(self) -> tuple[FakeError, int, int]:
        return FakeError.cudaSuccess, self.memory - sum(map(len, self._device.values())), self.memory

    def cudaGetErrorString(self, error: Any) -> tuple[FakeError, bytes]:
        return FakeError.cudaSuccess, f"text of {error.name}".encode()

    # Memory.

    def cudaMalloc(self, size: int) -> tuple[FakeError, int | None]:
        self._not_recording("cudaMalloc")
        if size > self.memory - sum(map(len, self._device.values())):
            return FakeError.cudaErrorMemoryAllocation, None
        # What a real one holds at first is anybody's guess.
        return FakeError.cudaSuccess, self._place(self._device, bytearray(b"\xa5" * size))

    def cudaFree(self, devPtr: int) -> tuple[FakeError]:
        self._not_recording("cudaFree")
        if devPtr not in self._device:
            raise Violation(f"cudaFree of {devPtr:#x}, which is not allocated")
        self._idle("cudaFree")
        del self._device[devPtr]
        return (FakeError.cudaSuccess,)

    def cudaMallocHost(self, size: int) -> tuple[FakeError, int]:
        self._not_recording("cudaMallocHost")
        block = (ctypes.c_uint8 * size)(*b"\x5a" * size)
        self._host[ctypes.addressof(block)] = block
        return FakeError.cudaSuccess, ctypes.addressof(block)

    def cudaFreeHost(self, ptr: int) -> tuple[FakeError]:
        if ptr not in self._host:
            raise Violation(f"cudaFreeHost of {ptr:#x}, which is not allocated")
        self._idle("cudaFreeHost")
        del self._host[ptr]
        return (FakeError.cudaSuccess,)

    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: Any) -> tuple[FakeError]:
        def fill() -> None:
            self.block(devPtr, count, "cudaMemsetAsync")[:count] = bytes([value]) * count

        return self._enqueue(stream, fill, "cudaMemsetAsync")

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: Any, stream: Any) -> tuple[FakeError]:
        def copy() -> None:
            if kind.name == "cudaMemcpyHostToDevice":
                self.block(dst, count, "a copy to the device")[:count] = self._pinned(src, count)[:count]
            elif kind.name == "cudaMemcpyDeviceToHost":
                data = self.block(src, count, "a copy to the host")[:count]
                memoryview(self._pinned(dst, count)).cast("B")[:count] = bytes(data)
            elif kind.name == "cudaMemcpyDeviceToDevice":
                self.part(dst, count)[:] = bytes(self.part(src, count))
            else:
                raise Violation(f"a copy of the kind {kind.name}, which nothing here needs")

        return self._enqueue(stream, copy, "cudaMemcpyAsync")

    def block(self, address: int, count: int, what: str) -> bytearray:
        """Device memory that begins at `address` and has at least `count` bytes."""
        if address not in self._device:
            raise Violation(f"{what} uses device memory at {address:#x}, which is not allocated")
        if len(self._device[address]) < count:
            raise Violation(f"{what} uses {count} bytes of {len(self._device[address])} at {address:#x}")
        return self._device[address]

    def part(self, address: int, count: int) -> memoryview:
        """`count` bytes of device memory that may begin anywhere in a block."""
        base = max((start for start in self._device if start <= address), default=address)
        offset = address - base
        return memoryview(self.block(base, offset + count, "a copy on the device"))[offset : offset + count]

    def _pinned(self, address: int, count: int) -> Any:
        block = self._host.get(address)
        if block is None:
            raise Violation(f"an asynchronous copy uses host memory at {address:#x}, which is not page-locked")
        if len(block) < count:
            raise Violation(f"a copy uses {count} bytes of {len(block)} at {address:#x}")
        return block

    def _place(self, where: dict[int, bytearray], block: bytearray) -> int:
        address = self._next
        self._next += _PAGE * (1 + len(block) // _PAGE)
        where[address] = block
        return address

    # Streams.

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[FakeError, FakeHandle]:
        return FakeError.cudaSuccess, self._handle("stream")

    def cudaStreamDestroy(self, stream: Any) -> tuple[FakeError]:
        found = self.stream(stream, "cudaStreamDestroy")
        if found.queue:
            raise Violation("a stream with work in it is destroyed")
        found.alive = False
        return (FakeError.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: Any) -> tuple[FakeError]:
        found = self.stream(stream, "cudaStreamSynchronize")
        if found.recording is not None:
            return (FakeError.cudaErrorStreamCaptureUnsupported,)
        while found.queue:
            found.queue.pop(0)()
            self._clock += 1000
        return (FakeError.cudaSuccess,)

    def stream(self, stream: Any, what: str) -> FakeHandle:
        """A stream by its handle or its number."""
        number = int(stream)
        found = next((h for h in self._handles if h.kind == "stream" and h.number == number), None)
        if found is None or not found.alive:
            raise Violation(f"{what} on a stream that does not exist")
        return found

    def _enqueue(self, stream: Any, work: Callable[[], None], what: str) -> tuple[FakeError]:
        found = self.stream(stream, what)
        (found.queue if found.recording is None else found.recording).append(work)
        return (FakeError.cudaSuccess,)

    enqueue = _enqueue

    def _handle(self, kind: str) -> FakeHandle:
        self._handles.append(FakeHandle(kind, 0x1000 + len(self._handles)))
        return self._handles[-1]

    def _alive(self, handle: FakeHandle, kind: str, what: str) -> FakeHandle:
        if handle.kind != kind or not handle.alive:
            raise Violation(f"{what} with a {handle.kind} that is not a living {kind}")
        return handle

    def _idle(self, what: str) -> None:
        if any(handle.queue for handle in self._handles if handle.kind == "stream"):
            raise Violation(f"{what} while work is queued that may use the memory")

    def _not_recording(self, what: str) -> None:
        if any(handle.recording is not None for handle in self._handles):
            raise Violation(f"{what} while a stream records")

    # Events.

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[FakeError, FakeHandle]:
        return FakeError.cudaSuccess, self._handle("event")

    def cudaEventDestroy(self, event: FakeHandle) -> tuple[FakeError]:
        self._alive(event, "event", "cudaEventDestroy").alive = False
        return (FakeError.cudaSuccess,)

    def cudaEventRecord(self, event: FakeHandle, stream: Any) -> tuple[FakeError]:
        self._alive(event, "event", "cudaEventRecord").time = None

        def reach() -> None:
            event.time = self._clock

        return self._enqueue(stream, reach, "cudaEventRecord")

    def cudaEventElapsedTime(self, start: FakeHandle, end: FakeHandle) -> tuple[FakeError, float]:
        if start.time is None or end.time is None:
            return FakeError.cudaErrorNotReady, 0.0
        return FakeError.cudaSuccess, (end.time - start.time) / 1e6

    # Graphs.

    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> tuple[FakeError]:
        found = self.stream(stream, "cudaStreamBeginCapture")
        if found.recording is not None:
            raise Violation("a stream that records begins to record")
        found.recording = []
        return (FakeError.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: Any) -> tuple[FakeError, FakeHandle | None]:
        found = self.stream(stream, "cudaStreamEndCapture")
        if found.recording is None:
            raise Violation("a stream that does not record ends recording")
        graph = self._handle("graph")
        graph.queue, found.recording = found.recording, None
        return FakeError.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: FakeHandle, flags: int) -> tuple[FakeError, FakeHandle]:
        self._alive(graph, "graph", "cudaGraphInstantiate")
        made = self._handle("launchable graph")
        made.recorded = tuple(graph.queue)
        return FakeError.cudaSuccess, made

    def cudaGraphDestroy(self, graph: FakeHandle) -> tuple[FakeError]:
        self._alive(graph, "graph", "cudaGraphDestroy").alive = False
        graph.queue = []
        return (FakeError.cudaSuccess,)

    def cudaGraphExecDestroy(self, graphExec: FakeHandle) -> tuple[FakeError]:
        self._alive(graphExec, "launchable graph", "cudaGraphExecDestroy").alive = False
        graphExec.recorded = ()
        return (FakeError.cudaSuccess,)

    def cudaGraphLaunch(self, graphExec: FakeHandle, stream: Any) -> tuple[FakeError]:
        self._alive(graphExec, "launchable graph", "cudaGraphLaunch")

        def launch() -> None:
            for work in graphExec.recorded:
                work()

        return self._enqueue(stream, launch, "cudaGraphLaunch")
