"""TensorRT on an NVIDIA GPU: the engine that was built on this machine from the artifact, in device memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock
from time import perf_counter_ns
from typing import Any

import numpy as np

from tks_edge_runtime.backends import cuda
from tks_edge_runtime.backends.base import (
    Array,
    Engine,
    EngineOptions,
    NodeTime,
    Port,
    Recurrence,
    RunTimes,
    Stepper,
    check_feeds,
    split_ports,
)
from tks_edge_runtime.backends.tensorrt_library import MESSAGES, Plan, import_library, launch, reason
from tks_edge_runtime.backends.tensorrt_profile import Profiler
from tks_edge_runtime.errors import TksEdgeError


def version() -> str:
    """Import TensorRT and return its version; MissingError where it cannot be imported."""
    return str(import_library().__version__)


def require(device: str) -> None:  # noqa: ARG001
    """MissingError where the library, what an engine is built with, the driver or the GPU is missing."""
    # Here, since a build runs what it built, to check it: that package imports this one.
    from tks_edge_runtime.engine_build import require as require_build

    require_build()


def open_artifact(path: Path, options: EngineOptions) -> Engine:
    """Open the engine that was built from the `.onnx` file at `path`; build it first where there is none.

    Of several engines, built with other options each, the newest is taken.

    Raises:
        ArtifactError: the graph is damaged, or not one that TensorRT can build.
        CheckError: what was built does not compute what the artifact promises.
        MissingError: there is not enough memory for it.
    """
    from tks_edge_runtime.engine_build import build_engine, find_engine, read_engine

    built = find_engine(path) or build_engine(path, on_progress=options.on_build)
    return TensorRtEngine(Plan(read_engine(built), path.name), options, note=built.path.name)


class TensorRtEngine:
    """One deserialized engine with a context, a stream and buffers of its own.

    Calls from several threads wait for each other: a context is for one at a time.

    Attributes:
        inputs: the graph's inputs, in its order.
        outputs: the graph's outputs, in its order.
        times: where the time of the last run went.
    """

    def __init__(self, plan: Plan, options: EngineOptions, note: str = "") -> None:
        self.inputs, self.outputs = plan.inputs, plan.outputs
        self.times = RunTimes(0)
        self._plan = plan
        self._lock = Lock()
        self._graphs = options.cuda_graph
        self._execution = _Execution(plan, self.inputs, self.outputs)
        self._profiler: Profiler | None = None
        try:
            if options.profiled:
                self._profiler = Profiler(plan)
                self._execution.report_to(self._profiler.listener)
            self._execution.bind({}, recorded=options.cuda_graph)
        except BaseException:
            self._execution.close()
            raise
        gpu = cuda.gpu()
        self._description = {
            "library": "tensorrt",
            "version": version(),
            "device": f"{gpu.name} (compute capability {gpu.compute_capability})",
            "threads": "none (it computes on the GPU)",
            "cuda_graph": "on" if options.cuda_graph else "off",
            **({"engine": note} if note else {}),
        }

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; calls from several threads wait for each other.

        Raises:
            InputError: the names, shapes or dtypes of `feeds` are not those of the graph's inputs.
            TksEdgeError: TensorRT or CUDA fails.
        """
        check_feeds(self.inputs, feeds)
        with self._lock:
            self._execution.put(feeds)
            results = self._execution.run(0, fed=True)
            self.times = self._execution.times
            if self._profiler is not None:
                self._profiler.end_run()
            return results

    def stepper(self, states: Sequence[Recurrence]) -> Stepper:
        """Make room for running the graph step after step; what was made keeps the graph alive after `close`."""
        return _DeviceStepper(self._plan, *split_ports(self, states), states, recorded=self._graphs)

    def describe(self) -> dict[str, str]:
        """Name the library, its version, the GPU, whether launches are recorded, and the engine's file."""
        return dict(self._description)

    def node_times(self) -> list[list[NodeTime]]:
        """What TensorRT reported of every run, by the device's clock."""
        return [] if self._profiler is None else self._profiler.runs

    def close(self) -> None:
        """Free the context and the buffers, and the engine where no stepper needs it."""
        with self._lock:
            self._execution.close()
            del self._execution, self._plan


class _Execution:
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


class _DeviceStepper:
    """A context whose states stay in device memory, and change places there.

    The first step reads its states from memory that nothing writes to, and writes memory A; the next reads A and writes
    B, then B and A take turns. Between two steps there is nothing to copy; recorded, each of the three is one launch.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: tuple[Port, ...],
        outputs: tuple[Port, ...],
        states: Sequence[Recurrence],
        *,
        recorded: bool,
    ) -> None:
        self._ports = inputs
        self._next = 0
        self._fed = False
        self.times = RunTimes(0)
        self._execution = execution = _Execution(plan, inputs, outputs)
        try:
            held = {port.name: port for port in plan.inputs}
            shapes = [held[state.input] for state in states]
            self._rows = [_nbytes(port) // (port.shape or (1,))[0] for port in shapes]
            start, a, b = ([execution.device_memory(_nbytes(port)) for port in shapes] for _ in range(3))
            self._start, self._states = start, (a, b)
            for port, state, memory in zip(shapes, states, start, strict=True):
                with cuda.HostArray(port.shape, port.dtype) as host:
                    host.array.fill(state.start)
                    execution.stream.to_device(memory, host)
                    execution.stream.synchronize()
            for read, written in ((start, a), (a, b), (b, a)):
                addresses = {state.input: memory.address for state, memory in zip(states, read, strict=True)}
                addresses |= {state.output: memory.address for state, memory in zip(states, written, strict=True)}
                execution.bind(addresses, recorded=recorded)
        except BaseException:
            execution.close()
            raise

    def feed(self, feeds: Mapping[str, Array]) -> None:
        """Take the inputs that are no states, for the next step to copy; InputError where they do not fit."""
        check_feeds(self._ports, feeds)
        self._execution.put(feeds)
        self._fed = True

    def step(self) -> dict[str, Array]:
        """Run once; TksEdgeError where TensorRT or CUDA fails."""
        results = self._execution.run(self._next, fed=self._fed)
        self._fed = False
        self.times = self._execution.times
        self._next = 2 if self._next == 1 else 1
        return results

    def reset(self) -> None:
        """Start again from the states of the first step."""
        self._next = 0

    def restart(self, rows: Sequence[int]) -> None:
        """Start these rows of the batch again: their part of the first step's states is copied, on the device."""
        if self._next == 0:
            return
        for state, start, nbytes in zip(self._states[self._next - 1], self._start, self._rows, strict=True):
            for row in rows:
                self._execution.stream.copy(state, start, row * nbytes, nbytes)

    def close(self) -> None:
        """Free the context and the buffers."""
        self._execution.close()
        del self._execution, self._start, self._states


def _nbytes(port: Port) -> int:
    return int(np.dtype(port.dtype).itemsize * np.prod(port.shape, dtype=np.int64))
