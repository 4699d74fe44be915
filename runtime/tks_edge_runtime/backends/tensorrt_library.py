"""TensorRT itself: the library, what it says while it works, and an engine that it made, ready to make contexts of.

One way that TensorRT 10.3 to 11 have in common: strongly typed networks, tensors by name, `execute_async_v3`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

from tks_edge_runtime import machine
from tks_edge_runtime.backends.base import Port
from tks_edge_runtime.errors import ArtifactError, MissingError, TksEdgeError

OLDEST = (10, 3)
"""The version of JetPack 6.1, and the oldest that has all that is used here."""

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}
_LONGEST_REASON = 300
_ERRORS = ("ERROR", "INTERNAL_ERROR")


def import_library(root: Path = Path("/")) -> Any:
    """Import TensorRT.

    Args:
        root: the machine, for the advice where it is missing.

    Raises:
        MissingError: it is not installed, or older than 10.3.
    """
    try:
        found: Any = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:  # where a library of its own is missing, it is an OSError
        raise MissingError(f"TensorRT is not installed here ({error}). {machine.tensorrt_advice(root)}") from error
    version = str(found.__version__)
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise MissingError(
            f"TensorRT {version} is installed; 10.3 and newer are needed. {machine.tensorrt_advice(root)}"
        )
    return found


Said = list[tuple[str, str]]
"""What TensorRT said: (severity, text), the severity in its own words."""


class Messages:
    """What TensorRT says, as it comes, from any thread. Nothing of it is printed.

    Attributes:
        errors: the last errors.
    """

    def __init__(self) -> None:
        self.errors: deque[tuple[str, str]] = deque(maxlen=8)
        self._lock = Lock()
        self._listeners: list[Said] = []

    def add(self, severity: str, text: str) -> None:
        """Take a message."""
        with self._lock:
            if severity in _ERRORS:
                self.errors.append((severity, text))
            for listener in self._listeners:
                listener.append((severity, text))

    @contextlib.contextmanager
    def heard(self) -> Iterator[Said]:
        """Yield a list that gets what is said in the block."""
        said: Said = []
        with self._lock:
            self._listeners.append(said)
        try:
            yield said
        finally:
            with self._lock:
                # By identity: two lists with nothing in them are equal.
                self._listeners = [listener for listener in self._listeners if listener is not said]


MESSAGES = Messages()


@functools.cache
def logger(trt: Any) -> Any:
    """The one logger of this process: TensorRT takes the first it is given for everything after."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            # Of the thousands of lines about each tactic, none is looked at.
            if severity.name != "VERBOSE":
                MESSAGES.add(severity.name, msg)

    return Logger()


def reason(said: Iterable[tuple[str, str]]) -> str:
    """The errors among what TensorRT said, the first and the last: what went wrong, and what came of it."""
    errors = [" ".join(text.split()) for severity, text in said if severity in _ERRORS]
    text = "; ".join(dict.fromkeys([*errors[:1], *errors[-1:]]))
    return text[:_LONGEST_REASON].rstrip(". ") or "it does not say why"


class Plan:
    """A deserialized engine. It lives as long as anything that holds it: its contexts must not outlive it.

    Attributes:
        inputs: its inputs, in the graph's order.
        outputs: its outputs, in the graph's order.
        engine: TensorRT's `ICudaEngine`.
    """

    def __init__(self, plan: Any, name: str) -> None:
        """Deserialize an engine. That runs code of whoever made it: only ever give one that was built here.

        Args:
            plan: its bytes, or a buffer of them.
            name: what errors call it.

        Raises:
            ArtifactError: TensorRT refuses it, or it has a tensor that is not static or of a foreign dtype.
        """
        self._trt = import_library()
        with MESSAGES.heard() as said:
            self._runtime = self._trt.Runtime(logger(self._trt))
            self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise ArtifactError(f"TensorRT cannot load the engine of {name}: {reason(said)}. Build it again.")
        ports = [self._port(self.engine.get_tensor_name(i), name) for i in range(self.engine.num_io_tensors)]
        self.inputs = tuple(port for port, is_input in ports if is_input)
        self.outputs = tuple(port for port, is_input in ports if not is_input)

    def _port(self, tensor: str, name: str) -> tuple[Port, bool]:
        shape, dtype = tuple(self.engine.get_tensor_shape(tensor)), self.engine.get_tensor_dtype(tensor).name
        on_device = self.engine.get_tensor_location(tensor) == self._trt.TensorLocation.DEVICE
        if dtype not in _DTYPES or any(size < 0 for size in shape) or not on_device:
            raise ArtifactError(f"{name}: {tensor!r} is {dtype}{list(shape)}; only static tensors can be run.")
        is_input = self.engine.get_tensor_mode(tensor) == self._trt.TensorIOMode.INPUT
        return Port(tensor, shape, _DTYPES[dtype]), is_input

    def context(self) -> Any:
        """Make an execution context, with memory of its own for what lies between inputs and outputs.

        Raises:
            MissingError: the GPU has not enough memory left for it.
        """
        with MESSAGES.heard() as said:
            context = self.engine.create_execution_context()
        if context is None:
            raise MissingError(f"TensorRT cannot make room for running a graph: {reason(said)}. Close other programs.")
        return context

    def layers(self) -> str:
        """What the engine's inspector says about its layers, as JSON."""
        inspector = self.engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))


def launch(context: Any, stream: int) -> None:
    """Queue one run of a context on a stream, given by its handle; every address must be set.

    Raises:
        TksEdgeError: TensorRT refuses.
    """
    if not context.execute_async_v3(stream):
        said = reason(list(MESSAGES.errors)[-1:])
        raise TksEdgeError(f"TensorRT cannot run: {said}. Start the process anew; if it comes again, report it.")
