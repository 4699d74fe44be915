"""A context of a TensorRT engine with the stream, the buffers and the recorded launches that it runs with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from time import perf_counter_ns
from typing import Any

import numpy as np

from tks_edge_runtime.backends import cuda
from tks_edge_runtime.backends.base import Array, Port, RunTimes
from tks_edge_runtime.backends.tensorrt_library import MESSAGES, Plan, launch, reason
from tks_edge_runtime.errors import TksEdgeError


class Execution:
    """A context with everything it needs to run: a stream, host and device buffers, events, recorded launches.

    Host arrays are page-locked, so that copies run on the device's own time; device buffers stay, since a recorded
    launch remembers their addresses.
    """

    def __init__(self, plan: Plan, fed: Sequence[Port], fetched: Sequence[Port]) -> None:
        self.times = RunTimes(0)
        self._bindings: list[tuple[dict[str, int], cuda.Graph | None]] = []
        self._bound: int | None = None
        self._context: Any = None
        # The plan is held until the context is gone: an engine must outlive its contexts.
        self._plan: Plan | None = plan
        self._open = ExitStack()
        self.stream = self._open.enter_context(cuda.Stream())
        self._stream_handle = int(self.stream.handle)
        try:
            self._marks = [self._open.enter_context(cuda.Event()) for _ in range(4)]
            self._fed = {port.name: self._pair(port) for port in fed}
            self._fetched = {port.name: self._pair(port) for port in fetched}
            self._context = plan.context()
            self._set({name: memory.address for name, (_, memory) in (self._fed | self._fetched).items()})
            self.stream.synchronize()
        except BaseException:
            self.close()
            raise

    def _pair(self, port: Port) -> tuple[cuda.HostArray, cuda.DeviceMemory]:
        host = self._open.enter_context(cuda.HostArray(port.shape, port.dtype))
        return host, self.device_memory(host.array.nbytes)

    def device_memory(self, nbytes: int) -> cuda.DeviceMemory:
        """Allocate device memory, 0 at first, that is freed with the context."""
        memory: cuda.DeviceMemory = self._open.enter_context(cuda.DeviceMemory(nbytes, self.stream))
        return memory

    def report_to(self, listener: Any) -> None:
        """Have TensorRT report the time of every layer to an `IProfiler`; it then waits for each run by itself."""
        self._context.profiler = listener

    def bind(self, addresses: Mapping[str, int], *, recorded: bool) -> None:
        """Add a way to run: with these addresses for what is neither fed nor fetched here.

        Args:
            addresses: of the other tensors, by name.
            recorded: whether the launches are recorded. That runs the graph once.
        """
        self._bindings.append((dict(addresses), None))
        if recorded:
            # Not recorded: what TensorRT does only once for new addresses, such as allocating, cannot be recorded.
            self._launch(len(self._bindings) - 1)
            self.stream.synchronize()
            graph = self._open.enter_context(self.stream.record(lambda: launch(self._context, self._stream_handle)))
            self._bindings[-1] = (self._bindings[-1][0], graph)

    def put(self, feeds: Mapping[str, Array]) -> None:
        """Write what is fed into the host arrays; the next run that is told so copies it to the device."""
        # The last copies from these arrays are done: who runs waits for the results.
        for name, (host, _) in self._fed.items():
            np.copyto(host.array, feeds[name])

    def run(self, index: int, *, fed: bool) -> dict[str, Array]:
        """Run one binding, after copying what was put where `fed`: what is fetched, as arrays of the caller's own."""
        before, begin, end, after = self._marks
        if fed:
            before.record(self.stream)
            for host, memory in self._fed.values():
                self.stream.to_device(memory, host)
        begin.record(self.stream)
        start = perf_counter_ns()
        self._launch(index)
        enqueue = perf_counter_ns() - start
        end.record(self.stream)
        for host, memory in self._fetched.values():
            self.stream.to_host(host, memory)
        after.record(self.stream)
        self.stream.synchronize()
        copies = after.since(end) + (begin.since(before) if fed else 0)
        self.times = RunTimes(end.since(begin), enqueue, copies)
        return {name: host.array.copy() for name, (host, _) in self._fetched.items()}

    def _launch(self, index: int) -> None:
        addresses, graph = self._bindings[index]
        if graph is not None:
            graph.launch(self.stream)
            return
        if self._bound != index:
            self._set(addresses)
            self._bound = index
        launch(self._context, self._stream_handle)

    def _set(self, addresses: Mapping[str, int]) -> None:
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise TksEdgeError(f"TensorRT refuses the memory for {name!r}: {reason(MESSAGES.errors)}. Report it.")

    def close(self) -> None:
        """Free everything, the context first."""
        with suppress(TksEdgeError):  # what failed on the device was raised where it was waited for
            self.stream.synchronize()
        self._bindings.clear()
        self._context = None
        self._plan = None
        self._open.close()
