"""What TensorRT's own profiler says of each layer of an engine, and which nodes of the file that was made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tks_edge_runtime.backends.base import NodeTime
from tks_edge_runtime.backends.tensorrt_library import Plan, import_library


class Profiler:
    """The times of one context, run by run.

    Attributes:
        listener: what the context reports to, an `IProfiler`.
        runs: the layers of each run so far.
    """

    def __init__(self, plan: Plan) -> None:
        self.runs: list[list[NodeTime]] = []
        self._made_of = _made_of(plan.layers())
        self._times: list[NodeTime] = []
        self.listener = _listener(import_library(), self._report)

    def _report(self, layer: str, ms: float) -> None:
        self._times.append(NodeTime(layer, round(ms * 1e6), self._made_of.get(layer, ())))

    def end_run(self) -> None:
        """Take what was reported since the last call as one run."""
        self.runs.append(self._times)
        self._times = []


def _listener(trt: Any, report: Callable[[str, float], None]) -> Any:
    class Listener(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            report(layer_name, ms)

    return Listener()


def _made_of(text: str) -> dict[str, tuple[str, ...]]:
    """What an engine's inspector says about where its layers come from; nothing where it gives their names alone."""
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        str(layer.get("Name", "")): (str(layer.get("Metadata", "")),) for layer in layers if isinstance(layer, dict)
    }
