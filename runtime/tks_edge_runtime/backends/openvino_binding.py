"""A compiled graph of OpenVINO with its inputs, outputs and states bound to tensors; the stepper of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from tks_edge_runtime.backends.base import Array, Port, Recurrence, RunTimes, check_feeds
from tks_edge_runtime.backends.state_memory import StateMemory
from tks_edge_runtime.errors import ArtifactError

_LONGEST_REASON = 160
_NOT_A_REASON = ("Exception from ", "Check '", "FrontEnd API failed", "Summary:")
_RESULT_SUFFIX = "/sink_port_0"


class BoundStepper:
    """A request of one compiled graph for each way to run a step, with tensors of its own: see `StateMemory`.

    Requests whose tensors stay are faster than one whose tensors are swapped, and cost no memory beyond these tensors:
    what lies between input and output belongs to the compiled graph.
    """

    def __init__(
        self,
        make_tensor: Any,
        compiled: Any,
        path: Path,
        inputs: tuple[Port, ...],
        outputs: tuple[Port, ...],
        states: Sequence[Recurrence],
    ) -> None:
        self._path = path
        self._ports = inputs
        self.times = RunTimes(0)
        ports = {port_name(node): node for node in (*compiled.inputs, *compiled.outputs)}

        def tensor(name: str) -> Any:
            # Memory of its own: a request does not keep an array alive that a tensor only shares.
            return make_tensor(ports[name].get_element_type(), ports[name].get_shape())

        def bound(read: Sequence[Any], written: Sequence[Any]) -> Any:
            request = compiled.create_infer_request()
            for name, value in (self._inputs | self._outputs).items():
                request.set_tensor(ports[name], value)
            for state, old, new in zip(states, read, written, strict=True):
                request.set_tensor(ports[state.input], old)
                request.set_tensor(ports[state.output], new)
            return request

        self._inputs = {port.name: tensor(port.name) for port in inputs}
        self._outputs = {port.name: tensor(port.name) for port in outputs}
        self._states = StateMemory(lambda: [tensor(state.input) for state in states])
        for state, value in zip(states, self._states.start, strict=True):
            value.data[...] = state.start
        self._requests = [bound(read, written) for read, written in self._states.ways]
        self._starts = [state.start for state in states]

    def feed(self, feeds: Mapping[str, Array]) -> None:
        """Copy the inputs that are no states into the engine; InputError where they do not fit."""
        check_feeds(self._ports, feeds)
        for name, tensor in self._inputs.items():
            np.copyto(tensor.data, feeds[name])

    def step(self) -> dict[str, Array]:
        """Run once; ArtifactError where the graph cannot be run."""
        start = perf_counter_ns()
        try:
            self._requests[self._states.next].infer(share_outputs=True)
        except Exception as error:
            raise not_run(error, self._path) from error
        self.times = RunTimes(perf_counter_ns() - start)
        self._states.advance()
        return {name: tensor.data.copy() for name, tensor in self._outputs.items()}

    def reset(self) -> None:
        """Start again from the states of the first step."""
        self._states.reset()

    def restart(self, rows: Sequence[int]) -> None:
        """Start these rows of the batch again, in the tensors that the next step reads."""
        memory = self._states.read
        if memory is not None and len(rows):
            for tensor, start in zip(memory, self._starts, strict=True):
                tensor.data[rows] = start

    def close(self) -> None:
        """Free the requests and the tensors."""
        del self._requests, self._inputs, self._outputs, self._states


def port_name(node: Any) -> str:
    """Where nodes were fused away, a tensor has their names too; the one that counts is its own node's."""
    own = str(node.get_node().get_friendly_name()).removesuffix(_RESULT_SUFFIX)
    return own if own in node.get_names() else str(node.get_any_name())


def not_run(error: Exception, path: Path) -> ArtifactError:
    """The error for a graph that was loaded and failed while it ran."""
    return ArtifactError(f"openvino cannot run {path}: {reason(error)}. Export it again.")


def reason(error: Exception) -> str:
    """Shorten an OpenVINO error to what it says, without where in its source it was raised."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(_NOT_A_REASON))
    return (text or type(error).__name__)[:_LONGEST_REASON].rstrip(". ")
