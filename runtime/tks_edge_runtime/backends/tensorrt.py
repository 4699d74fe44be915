"""TensorRT on an NVIDIA GPU: the engine that was built on this machine from the artifact, in device memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

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
from tks_edge_runtime.backends.state_memory import StateMemory
from tks_edge_runtime.backends.tensorrt_execution import Execution
from tks_edge_runtime.backends.tensorrt_library import Plan, import_library
from tks_edge_runtime.backends.tensorrt_profile import Profiler


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
        self._execution = Execution(plan, self.inputs, self.outputs)
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


class _DeviceStepper:
    """A context whose states stay in device memory, and change places there: see `StateMemory`.

    Recorded, each of the three ways to run a step is one launch.
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
        self._fed = False
        self.times = RunTimes(0)
        self._execution = execution = Execution(plan, inputs, outputs)
        try:
            held = {port.name: port for port in plan.inputs}
            shapes = [held[state.input] for state in states]
            self._rows = [_nbytes(port) // (port.shape or (1,))[0] for port in shapes]
            self._states = StateMemory(lambda: [execution.device_memory(_nbytes(port)) for port in shapes])
            for port, state, memory in zip(shapes, states, self._states.start, strict=True):
                with cuda.HostArray(port.shape, port.dtype) as host:
                    host.array.fill(state.start)
                    execution.stream.to_device(memory, host)
                    execution.stream.synchronize()
            for read, written in self._states.ways:
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
        results = self._execution.run(self._states.next, fed=self._fed)
        self._fed = False
        self.times = self._execution.times
        self._states.advance()
        return results

    def reset(self) -> None:
        """Start again from the states of the first step."""
        self._states.reset()

    def restart(self, rows: Sequence[int]) -> None:
        """Start these rows of the batch again: their part of the first step's states is copied, on the device."""
        memory = self._states.read
        if memory is None:
            return
        for state, start, nbytes in zip(memory, self._states.start, self._rows, strict=True):
            for row in rows:
                self._execution.stream.copy(state, start, row * nbytes, nbytes)

    def close(self) -> None:
        """Free the context and the buffers."""
        self._execution.close()
        del self._execution, self._states


def _nbytes(port: Port) -> int:
    return int(np.dtype(port.dtype).itemsize * np.prod(port.shape, dtype=np.int64))
