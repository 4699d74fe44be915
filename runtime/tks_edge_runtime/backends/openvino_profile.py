"""What OpenVINO's own profiler says of each node of a compiled graph, and which nodes of the file that was made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tks_edge_runtime.backends.base import NodeTime

SETTING = {"PERF_COUNT": "YES"}
"""What a graph has to be compiled with."""
_MADE_OF = "originalLayersNames"
_EXECUTED = "EXECUTED"


class Counters:
    """The counters of one request, run by run.

    Attributes:
        runs: the nodes of each run so far.
    """

    def __init__(self, compiled: Any) -> None:
        self.runs: list[list[NodeTime]] = []
        self._made_of = {
            str(node.get_friendly_name()): _names(node.get_rt_info())
            for node in compiled.get_runtime_model().get_ordered_ops()
        }

    def add(self, request: Any) -> None:
        """Take the counters of the request's last run."""
        self.runs.append(
            [
                NodeTime(name, info.real_time // timedelta(microseconds=1) * 1000, self._made_of.get(name, ()))
                for info in request.profiling_info
                if info.status.name == _EXECUTED and (name := str(info.node_name))
            ]
        )


def _names(facts: Any) -> tuple[str, ...]:
    """The nodes that one was fused from."""
    text = str(facts[_MADE_OF].value) if _MADE_OF in facts else ""
    return tuple(filter(None, text.split(",")))
