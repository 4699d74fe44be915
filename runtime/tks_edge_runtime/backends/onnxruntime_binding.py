"""A session of ONNX Runtime with its inputs, outputs and states bound to buffers on its device; the stepper of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from tks_edge_runtime.backends.base import Array, Port, Recurrence, RunTimes, check_feeds
from tks_edge_runtime.backends.onnxruntime_devices import BUFFERS, CPU, import_library
from tks_edge_runtime.backends.state_memory import StateMemory
from tks_edge_runtime.errors import ArtifactError, InputError

_LONGEST_REASON = 160


class Bound:
    """The inputs and outputs of a session that are no states, in buffers on its device.

    Attributes:
        device: the device, by name.
        times: where the time of the last run went, with the copies of what was fed before it.
    """

    def __init__(
        self, session: Any, path: Path, device: str, inputs: tuple[Port, ...], outputs: tuple[Port, ...]
    ) -> None:
        self._session, self._path, self._ports = session, path, inputs
        self.device = device
        self._inputs = {port.name: self.buffer(port) for port in inputs}
        self._outputs = {port.name: self.buffer(port) for port in outputs}
        self._fed_ns = 0
        self.times = RunTimes(0)

    def buffer(self, port: Port) -> Any:
        """A tensor on the device, of undefined content."""
        return import_library().OrtValue.ortvalue_from_shape_and_type(
            list(port.shape), np.dtype(port.dtype), BUFFERS[self.device]
        )

    def binding(
        self, graph: int | None, read: Mapping[str, Any] | None = None, written: Mapping[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """Bind these buffers, and those of states by their ports' names.

        Args:
            graph: the number under which a CUDA graph of it is recorded; None where none is.
            read: buffers of states by input.
            written: buffers of states by output.

        Returns:
            what `run` takes.
        """
        binding = self._session.io_binding()
        for name, value in {**self._inputs, **(read or {})}.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in {**self._outputs, **(written or {})}.items():
            binding.bind_ortvalue_output(name, value)
        if graph is None:
            return binding, None
        options = import_library().RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return binding, options

    def feed(self, feeds: Mapping[str, Array]) -> None:
        """Copy all inputs that are no states to the device; InputError where they do not fit."""
        check_feeds(self._ports, feeds)
        start = perf_counter_ns()
        for name, value in self._inputs.items():
            value.update_inplace(np.ascontiguousarray(feeds[name]))
        self._fed_ns += perf_counter_ns() - start

    def run(self, bound: tuple[Any, Any]) -> dict[str, Array]:
        """Run once with what `binding` gave, and copy the outputs; ArtifactError where the graph cannot be run."""
        binding, options = bound
        start = perf_counter_ns()
        try:
            self._session.run_with_iobinding(binding, options)
            if self.device != CPU:
                binding.synchronize_outputs()
        except Exception as error:
            raise not_run(error, self._path) from error
        done = perf_counter_ns()
        if self.device == CPU:
            self.times = RunTimes(done - start)
            # `numpy` gives a view of a buffer on the CPU, which the next step writes over.
            return {name: np.array(value.numpy()) for name, value in self._outputs.items()}
        results = {name: value.numpy() for name, value in self._outputs.items()}
        self.times = RunTimes(done - start, copies=self._fed_ns + perf_counter_ns() - done)
        self._fed_ns = 0
        return results


class BoundStepper:
    """A session with a binding of its ports to buffers on the device for each way to run a step: see `StateMemory`."""

    def __init__(
        self, bound: Bound, states: Sequence[tuple[Recurrence, Port]], next_graph: Callable[[], int | None]
    ) -> None:
        self._bound = bound
        self._states = StateMemory(lambda: [bound.buffer(port) for _, port in states])
        for (state, port), value in zip(states, self._states.start, strict=True):
            value.update_inplace(np.full(port.shape, state.start, port.dtype))
        inputs, outputs = [state.input for state, _ in states], [state.output for state, _ in states]
        self._bindings = [
            bound.binding(next_graph(), dict(zip(inputs, read, strict=True)), dict(zip(outputs, written, strict=True)))
            for read, written in self._states.ways
        ]
        self._starts = [state.start for state, _ in states]

    @property
    def times(self) -> RunTimes:
        """Where the time of the last step went, with the copies of what was fed before it."""
        return self._bound.times

    def feed(self, feeds: Mapping[str, Array]) -> None:
        """Copy the inputs that are no states to the device; InputError where they do not fit."""
        self._bound.feed(feeds)

    def step(self) -> dict[str, Array]:
        """Run once; ArtifactError where the graph cannot be run."""
        results = self._bound.run(self._bindings[self._states.next])
        self._states.advance()
        return results

    def reset(self) -> None:
        """Start again from the states of the first step."""
        self._states.reset()

    def restart(self, rows: Sequence[int]) -> None:
        """Start these rows of the batch again; InputError on a GPU, where the library writes whole tensors alone."""
        if self._bound.device != CPU:
            raise InputError(
                f"onnxruntime writes no part of a tensor on the device {self._bound.device}, so that no sample can "
                "leave a batch before the others. Use --backend tensorrt, --device cpu, or an artifact of batch 1."
            )
        memory = self._states.read
        if memory is not None and len(rows):
            for value, start in zip(memory, self._starts, strict=True):
                value.numpy()[rows] = start  # a view, on a CPU

    def close(self) -> None:
        """Free the buffers."""
        del self._bindings, self._bound, self._states


def not_run(error: Exception, path: Path) -> ArtifactError:
    """The error for a graph that was loaded and failed while it ran."""
    return ArtifactError(f"onnxruntime cannot run {path}: {reason(error, path)}. Export it again.")


def reason(error: Exception, path: Path) -> str:
    """Shorten an ONNX Runtime error to its first line, without its prefixes."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    text = text.rpartition(" : ")[2] if text.startswith("[ONNXRuntimeError]") else text
    return text.replace(f"Load model from {path} failed:", "")[:_LONGEST_REASON].rstrip(". ")
