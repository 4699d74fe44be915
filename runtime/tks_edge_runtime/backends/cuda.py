"""CUDA by its runtime API: memory, a stream, events and recorded graphs; every return code is looked at.

Everything happens on device 0: which GPU that is, the environment variable CUDA_VISIBLE_DEVICES says. What is made here
is freed by `close`, or at the end of its `with` block; an error while freeing is not raised, since whatever caused it
was raised before.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.errors import MissingError, TksEdgeError

Array = npt.NDArray[Any]

_DEVICE = 0
_OLDEST_MAJOR = 12
_NO_GPU = ("cudaErrorNoDevice", "cudaErrorInvalidDevice", "cudaErrorDevicesUnavailable", "cudaErrorDeviceUninitialized")
_NO_DRIVER = ("cudaErrorInsufficientDriver", "cudaErrorStubLibrary", "cudaErrorSystemDriverMismatch")
_NO_MEMORY = ("cudaErrorMemoryAllocation",)
_INSTALL = "pip install 'cuda-bindings>=12.8'"


def _runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise MissingError(
            f"CUDA cannot be used from Python here: cuda-bindings is missing ({error}). Install it: {_INSTALL}"
        ) from error


@functools.cache
def _function(name: str) -> Any:
    return getattr(_runtime(), name)


def _call(name: str, *arguments: Any) -> Any:
    """Call a function of the runtime API: what it returns besides its error code; None, one value or a tuple.

    Raises:
        MissingError: there is no driver, no GPU, or not enough memory on it.
        TksEdgeError: any other error code.
    """
    try:
        code, *results = _function(name)(*arguments)
    except RuntimeError as error:  # cuda-bindings 12 has no code for a driver that is not there
        raise MissingError(f"there is no CUDA driver here ({error}). {_driver_advice()}") from error
    if int(code) != 0:
        raise _failed(name, code)
    return results[0] if len(results) == 1 else tuple(results) or None


def _failed(name: str, code: Any) -> TksEdgeError:
    label = str(code.name)
    if label in _NO_DRIVER:
        return MissingError(f"the CUDA driver is missing or too old ({label}). {_driver_advice()}")
    if label in _NO_GPU:
        return MissingError(
            f"there is no NVIDIA GPU that CUDA can use ({label}). See what `nvidia-smi` says, and CUDA_VISIBLE_DEVICES."
        )
    if label in _NO_MEMORY:
        return MissingError(f"the GPU has not enough memory left ({name}: {label}). Close other programs that use it.")
    text = _text(_function("cudaGetErrorString")(code)[1])
    return TksEdgeError(
        f"CUDA failed in {name}: {label} ({text}). After such an error the process must be started anew; if it comes "
        "again, report it with the artifact."
    )


def _driver_advice() -> str:
    """What to do about the driver: one of another major version than the cuda-bindings is as good as none."""
    built_for = int(_function("cudaRuntimeGetVersion")()[1])
    major = built_for // 1000
    return (
        f"The cuda-bindings here are for CUDA {_dotted(built_for)}. Where `nvidia-smi` shows a driver for an older one "
        f"(JetPack 6 has 12.6), take those for it: pip install 'cuda-bindings>=12.8,<{major}'. Without an NVIDIA GPU, "
        "use another backend."
        if major > _OLDEST_MAJOR
        else "Install NVIDIA's driver, or use another backend."
    )


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _text(value: Any) -> str:
    return value.decode(errors="replace").rstrip("\0") if isinstance(value, bytes) else str(value)


def require() -> None:
    """MissingError where cuda-bindings, the driver or a GPU is missing; what it says depends on which."""
    if not _call("cudaGetDeviceCount"):
        raise MissingError("there is no NVIDIA GPU that CUDA can use. See what `nvidia-smi` says.")


@dataclass(frozen=True)
class Gpu:
    """The GPU that computes: its name, compute capability ("8.7") and number of multiprocessors.

    Attributes:
        integrated: whether it shares its memory with the host, as on a Jetson.
        cuda: the newest CUDA version that the driver knows ("12.6").
    """

    name: str
    compute_capability: str
    multiprocessors: int
    integrated: bool
    cuda: str


def gpu() -> Gpu:
    """Ask for the facts of the GPU; MissingError where there is none."""
    facts = _call("cudaGetDeviceProperties", _DEVICE)
    return Gpu(
        _text(facts.name).strip(),
        f"{facts.major}.{facts.minor}",
        int(facts.multiProcessorCount),
        bool(facts.integrated),
        _dotted(int(_call("cudaDriverGetVersion"))),
    )


def free_memory() -> int:
    """How many bytes of the GPU's memory are free; on one that shares the host's, see also what the host has left."""
    return int(_call("cudaMemGetInfo")[0])


class _Resource:
    """Something of the driver's that `_free` gives back, once."""

    _free: Callable[[], None] | None = None

    def _owned(self, name: str, *arguments: Any) -> None:
        self._free = functools.partial(_function(name), *arguments)

    def close(self) -> None:
        """Give it back. It cannot be used afterwards."""
        free, self._free = self._free, None
        if free is not None:
            free()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class DeviceMemory(_Resource):
    """`nbytes` on the device, 0 at first.

    Attributes:
        address: where, as a number.
        nbytes: how many there are.
    """

    def __init__(self, nbytes: int, stream: Stream) -> None:
        self.nbytes = nbytes
        # An empty tensor needs an address too: TensorRT refuses a null pointer.
        self.address = int(_call("cudaMalloc", max(1, nbytes)))
        self._owned("cudaFree", self.address)
        _call("cudaMemsetAsync", self.address, 0, max(1, nbytes), stream.handle)


class HostArray(_Resource):
    """An array in page-locked host memory: the device copies to and from it without the host's help.

    Attributes:
        array: the array, of undefined content at first. It must not be used after `close`.
        address: where it is, as a number.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        kind = np.dtype(dtype)
        nbytes = kind.itemsize * int(np.prod(shape, dtype=np.int64))
        self.address = int(_call("cudaMallocHost", max(1, nbytes)))
        self._owned("cudaFreeHost", self.address)
        memory = (ctypes.c_uint8 * nbytes).from_address(self.address)
        self.array: Array = np.frombuffer(memoryview(memory), kind).reshape(shape)


class Stream(_Resource):
    """A queue of work on the device, that waits for no other.

    Attributes:
        handle: as the driver's functions take it; `int(handle)` is what TensorRT takes.
    """

    def __init__(self) -> None:
        self.handle = _call("cudaStreamCreateWithFlags", _function("cudaStreamNonBlocking"))
        self._owned("cudaStreamDestroy", self.handle)

    def synchronize(self) -> None:
        """Wait until everything in the queue is done; an error of that work is raised here."""
        _call("cudaStreamSynchronize", self.handle)

    def to_device(self, target: DeviceMemory, source: HostArray) -> None:
        """Queue the copy of a whole host array to the device."""
        kind = _function("cudaMemcpyKind").cudaMemcpyHostToDevice
        _call("cudaMemcpyAsync", target.address, source.address, source.array.nbytes, kind, self.handle)

    def to_host(self, target: HostArray, source: DeviceMemory) -> None:
        """Queue the copy of a whole host array from the device."""
        kind = _function("cudaMemcpyKind").cudaMemcpyDeviceToHost
        _call("cudaMemcpyAsync", target.address, source.address, target.array.nbytes, kind, self.handle)

    def copy(self, target: DeviceMemory, source: DeviceMemory, offset: int, nbytes: int) -> None:
        """Queue the copy of `nbytes` bytes, at `offset` in both, from one block of device memory to another."""
        kind = _function("cudaMemcpyKind").cudaMemcpyDeviceToDevice
        _call("cudaMemcpyAsync", target.address + offset, source.address + offset, nbytes, kind, self.handle)

    def record(self, launch: Callable[[], None]) -> Graph:
        """Record what `launch` queues here, without running it, as a graph that is launched as one.

        `launch` must not wait for the device or allocate on it.
        """
        # Only this thread is forbidden what would spoil the recording: another may allocate while it lasts.
        mode = _function("cudaStreamCaptureMode").cudaStreamCaptureModeThreadLocal
        _call("cudaStreamBeginCapture", self.handle, mode)
        try:
            launch()
        except BaseException:
            # A stream stays in capture mode until this is called; what it returns here is an error, and no surprise.
            _function("cudaStreamEndCapture")(self.handle)
            raise
        return Graph(_call("cudaStreamEndCapture", self.handle))


class Graph(_Resource):
    """Launches that were recorded, with the addresses they were recorded with: that memory must stay."""

    def __init__(self, recorded: Any) -> None:
        try:
            self._handle = _call("cudaGraphInstantiate", recorded, 0)
        finally:
            _function("cudaGraphDestroy")(recorded)
        self._owned("cudaGraphExecDestroy", self._handle)

    def launch(self, stream: Stream) -> None:
        """Queue all of it on a stream."""
        _call("cudaGraphLaunch", self._handle, stream.handle)


class Event(_Resource):
    """A point in a stream's work, with the time at which the device reached it."""

    def __init__(self) -> None:
        self._handle = _call("cudaEventCreateWithFlags", _function("cudaEventDefault"))
        self._owned("cudaEventDestroy", self._handle)

    def record(self, stream: Stream) -> None:
        """Queue it on a stream."""
        _call("cudaEventRecord", self._handle, stream.handle)

    def since(self, earlier: Event) -> int:
        """The time from another event to this one, in ns, on the device's clock, which counts in steps of about 0.5 us.

        Both must have been reached: synchronize the stream first.
        """
        return round(1e6 * float(_call("cudaEventElapsedTime", earlier._handle, self._handle)))
