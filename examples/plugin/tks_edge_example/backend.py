"""`reference`: the evaluator that comes with the onnx package, in NumPy. Slow, and the definition of each operator."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from tks_edge_runtime.backends import Backend, EngineOptions, NodeTime, Port, Recurrence, RunTimes
from tks_edge_runtime.backends.base import Array, check_feeds, split_ports
from tks_edge_runtime.errors import ArtifactError, InputError, MissingError


def import_library() -> Any:
    """Import onnx; it is not at the top, so that a list of backends costs nothing."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise MissingError("the backend reference needs onnx: pip install onnx") from error


def version() -> str:
    """The version of the library."""
    return str(import_library().__version__)


def require(device: str) -> None:  # noqa: ARG001 - it has one device
    """Raise a MissingError where this machine lacks something."""
    import_library()


class ReferenceEngine:
    """A graph, loaded.

    Attributes:
        inputs: the graph's inputs, in its order.
        outputs: the graph's outputs, in its order.
        times: where the time of the last run went.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        if options.threads not in (None, 1):
            raise InputError(f"the backend reference computes on one thread, got {options.threads}. Leave it out.")
        library = import_library()
        self._path = path
        try:
            model = library.load(path)
            self._evaluator: Any = importlib.import_module("onnx.reference").ReferenceEvaluator(model)
        except Exception as error:  # its exceptions have no root of their own
            raise ArtifactError(f"onnx cannot load {path}: {error}. Export it again.") from error
        self.inputs = tuple(_port(library, value) for value in model.graph.input)
        self.outputs = tuple(_port(library, value) for value in model.graph.output)
        self.times = RunTimes(0)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once: host arrays by input name in, host arrays by output name out."""
        check_feeds(self.inputs, feeds)
        start = perf_counter_ns()
        try:
            results = self._evaluator.run(None, dict(feeds))
        except Exception as error:
            raise ArtifactError(f"onnx cannot run {self._path}: {error}. Export it again.") from error
        self.times = RunTimes(perf_counter_ns() - start)
        return {port.name: result for port, result in zip(self.outputs, results, strict=True)}

    def stepper(self, states: Sequence[Recurrence]) -> ReferenceStepper:
        """Make room for running the graph step after step."""
        return ReferenceStepper(self, states)

    def describe(self) -> dict[str, str]:
        """Name what runs the graph."""
        return {"library": "onnx.reference", "version": version(), "device": "CPU (NumPy)", "threads": "1"}

    def node_times(self) -> list[list[NodeTime]]:
        """Nothing: it has no profiler, and `profile --per-layer` says so."""
        return []

    def close(self) -> None:
        """Free the graph."""
        del self._evaluator


class ReferenceStepper:
    """A graph that is run step after step; its states are host arrays.

    Attributes:
        times: where the time of the last step went.
    """

    def __init__(self, engine: ReferenceEngine, states: Sequence[Recurrence]) -> None:
        self._engine, self._recurrences = engine, tuple(states)
        self._ports, self._given = split_ports(engine, states)
        self._held = {port.name: port for port in engine.inputs}
        self._feeds: dict[str, Array] = {}
        self._states: dict[str, Array] = {}
        self.times = RunTimes(0)
        self.reset()

    def feed(self, feeds: Mapping[str, Array]) -> None:
        """Give the inputs that are no states; they stay until others are given."""
        check_feeds(self._ports, feeds)
        self._feeds = dict(feeds)

    def step(self) -> dict[str, Array]:
        """Run once: the outputs that are no states."""
        results = self._engine.run(self._feeds | self._states)
        self.times = self._engine.times
        self._states = {state.input: np.array(results[state.output]) for state in self._recurrences}
        return {port.name: results[port.name] for port in self._given}

    def reset(self) -> None:
        """Start again from the states of the first step."""
        held = ((state, self._held[state.input]) for state in self._recurrences)
        self._states = {state.input: np.full(port.shape, state.start, port.dtype) for state, port in held}

    def restart(self, rows: Sequence[int]) -> None:
        """Start some rows of the batch again."""
        for state in self._recurrences:
            self._states[state.input][list(rows)] = state.start

    def close(self) -> None:
        """Free the states."""
        self._states = {}


def _port(library: Any, value: Any) -> Port:
    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value for axis in tensor.shape.dim)
    return Port(value.name, shape, library.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)


REFERENCE = Backend(version, require, ReferenceEngine, devices=("cpu",))
