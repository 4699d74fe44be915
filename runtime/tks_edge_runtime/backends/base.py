"""What every backend gives: an engine that takes host arrays and returns host arrays, and keeps states in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from tks_edge_runtime.errors import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Port:
    """One input or output of a graph: its name, static shape and NumPy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}{list(self.shape)}"


def check_feeds(inputs: Sequence[Port], feeds: Mapping[str, Array]) -> None:
    """Refuse arrays that are not a graph's inputs before a library sees them.

    Raises:
        InputError: the names, shapes or dtypes of `feeds` are not those of `inputs`.
    """
    fits = len(feeds) == len(inputs) and all(
        port.name in feeds and feeds[port.name].shape == port.shape and feeds[port.name].dtype == port.dtype
        for port in inputs
    )
    if not fits:
        got = ", ".join(str(Port(name, array.shape, str(array.dtype))) for name, array in feeds.items())
        raise InputError(f"the graph takes {', '.join(map(str, inputs))}; got {got or 'nothing'}.")


@dataclass(frozen=True)
class RunTimes:
    """Where the time of one run went, in ns; those of several runs are added.

    Attributes:
        compute: the graph alone. On a device its own events around the launch where the library gives them, elsewhere
            the wall time of the library's call until the graph is done; `Engine.describe` says which, as `timing`.
        enqueue: how long the host took to hand the run to the device; None where the call returns only when it is done.
        copies: inputs to the device and outputs back, by the same clock; None where the graph computes in the host's
            memory, or the library copies within its call.
    """

    compute: int
    enqueue: int | None = None
    copies: int | None = None

    def __add__(self, other: RunTimes) -> RunTimes:
        return RunTimes(
            self.compute + other.compute, _sum(self.enqueue, other.enqueue), _sum(self.copies, other.copies)
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


@dataclass(frozen=True)
class NodeTime:
    """What one node of an engine took in one run, as the library's own profiler says.

    Attributes:
        name: as the library calls it.
        ns: the time, in ns; libraries round it to us.
        made_of: what says which nodes of the file it was made of, where the library tells.
    """

    name: str
    ns: int
    made_of: tuple[str, ...] = ()


BuildProgress = Callable[[str, float], None]
"""Told what a backend builds before it can run a graph, in words, and the fraction of it that is done, 0 to 1."""


@dataclass(frozen=True)
class EngineOptions:
    """How a graph is opened.

    Attributes:
        device: where it computes: one of the backend's `devices`.
        threads: threads inside one operator on a host; None leaves the number to the library.
        spinning: whether idle threads wait actively.
        cuda_graph: whether the launches of a run are recorded once and replayed as one, on a backend that has them.
        on_build: told how far a build is, by a backend that builds an engine before its first run.
        shapes: what the file states about its tensors, by name; a library that finds another shape refuses the graph.
        profiled: whether the library's profiler times every node of `Engine.run`. That costs time: nothing else is
            measured with such an engine.
    """

    device: str
    threads: int | None = None
    spinning: bool = True
    cuda_graph: bool = False
    on_build: BuildProgress | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None
    profiled: bool = False


@dataclass(frozen=True)
class Recurrence:
    """A state of a graph: its input, and the output that becomes its input in the next step.

    Both ports have the same shape and dtype. `start` is what the input is filled with in the first step.
    """

    input: str
    output: str
    start: int = 0


class Stepper(Protocol):
    """A graph that is run step after step: what a state's output gave is that state's input in the next step.

    The states stay where the engine computes, and are not copied between steps. One thread at a time may use a stepper;
    several steppers of one engine do not disturb each other.
    """

    @property
    def times(self) -> RunTimes:
        """Where the time of the last step went, with the copies of what was fed before it."""

    def feed(self, feeds: Mapping[str, Array]) -> None:
        """Give the inputs that are no states, as host arrays by name; they stay until others are given.

        Raises:
            InputError: the names, shapes or dtypes are not those of these inputs.
        """

    def step(self) -> dict[str, Array]:
        """Run once: the outputs that are no states, as host arrays by name, complete.

        Raises:
            ArtifactError: the graph was loaded and cannot be run all the same.
        """

    def reset(self) -> None:
        """Start again: in the next step the states are what they were in the first."""

    def restart(self, rows: Sequence[int]) -> None:
        """Start some rows of the batch again: in the next step their states are what they were in the first.

        Args:
            rows: indices along the first axis of every state. None of them asks whether it can be done, no more.

        Raises:
            InputError: no part of a state can be written where the states are.
        """

    def close(self) -> None:
        """Free the buffers. It cannot step afterwards."""


def split_ports(engine: Engine, states: Sequence[Recurrence]) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs and the outputs of a graph that are no states; see `Engine.stepper`."""
    held = {name for state in states for name in (state.input, state.output)}
    return (
        tuple(port for port in engine.inputs if port.name not in held),
        tuple(port for port in engine.outputs if port.name not in held),
    )


class Engine(Protocol):
    """A graph that is loaded and ready to run."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The graph's inputs, in its order."""

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The graph's outputs, in its order."""

    @property
    def times(self) -> RunTimes:
        """Where the time of the last `run` went; of several threads' runs, of one of them."""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once: host arrays by input name in, host arrays by output name out; returns when these are complete."""

    def stepper(self, states: Sequence[Recurrence]) -> Stepper:
        """Make room for running the graph step after step; what was made keeps the graph alive after `close`."""

    def describe(self) -> dict[str, str]:
        """Name what runs the graph.

        Returns:
            `library`, `version`, `device`, `threads`; where there is such a thing, `spinning` ("on" or "off" where it
            can be set), `cuda_graph` ("on" or "off"), `timing` (on a device, which clock its times are taken by), and
            `inference_precision` where the library could choose another than the graph's.
        """

    def node_times(self) -> list[list[NodeTime]]:
        """End the profiling of an engine that was opened for it: what the nodes took, one list for each `run`.

        Those of steppers are not in it. Empty where it was not opened so; it may be called once.
        """

    def close(self) -> None:
        """Free what the engine holds. It cannot run afterwards."""


class Opener(Protocol):
    """How a backend opens a file; the options every backend is asked to honour."""

    def __call__(self, path: Path, options: EngineOptions) -> Engine:
        """Open the graph at `path`.

        Raises:
            ArtifactError: the graph is damaged, or not one that this backend can run.
            MissingError: the device cannot run it as asked.
        """


@dataclass(frozen=True)
class Backend:
    """One way to run a graph.

    Attributes:
        version: imports the library and returns its version; MissingError, naming the pip command, where it is missing.
        require: raises MissingError where this machine cannot run the backend on a device of that name: the library,
            the driver or the device that is missing, and the command that helps on this kind of machine.
        open: opens a graph.
        devices: the names of what it can compute on; the first is taken where none is asked for.
        cuda_graph_devices: those of them on which the launches of a run can be replayed as one CUDA graph.
    """

    version: Callable[[], str]
    require: Callable[[str], None]
    open: Opener
    devices: tuple[str, ...] = ("cpu",)
    cuda_graph_devices: tuple[str, ...] = ()
