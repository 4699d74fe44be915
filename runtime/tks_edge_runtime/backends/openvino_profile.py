"""What OpenVINO's own profiler says of each node of a compiled graph, and which nodes of the file that was made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tks_edge_runtime.backends.base import NodeTime

SETTING = {"PERF_COUNT": "YES"}
"""What a graph has to be compiled with."""
_MADE_OF = "originalLayersNames"
_NO_KERNEL = "unknown"
"""What the type of kernel begins with of a node that computes nothing: an input, an output, a change of shape alone."""


class Counters:
    """The counters of one compiled graph, after each run.

    OpenVINO keeps for each node the mean over all runs so far, in whole us; one below 1 us counts as not run. The first
    run, in which kernels are made and memory is touched for the first time, is taken out of it.

    Attributes:
        runs: the nodes after each run: their means since the second run; after the first run, what that took.
    """

    def __init__(self, compiled: Any) -> None:
        self.runs: list[list[NodeTime]] = []
        self._first: dict[str, int] = {}
        self._made_of = {
            str(node.get_friendly_name()): _names(node.get_rt_info())
            for node in compiled.get_runtime_model().get_ordered_ops()
        }

    def add(self, request: Any) -> None:
        """Take the counters after the request's last run."""
        count = len(self.runs) + 1
        means = {
            str(info.node_name): info.real_time // timedelta(microseconds=1) * 1000
            for info in request.profiling_info
            if not str(info.exec_type).startswith(_NO_KERNEL)
        }
        self._first = self._first or means
        since = {name: self._since_the_second(name, mean, count) for name, mean in means.items()}
        self.runs.append([NodeTime(name, ns, self._made_of.get(name, ())) for name, ns in since.items()])

    def _since_the_second(self, name: str, mean: int, count: int) -> int:
        return mean if count == 1 else max(0, (count * mean - self._first.get(name, 0)) // (count - 1))


def _names(facts: Any) -> tuple[str, ...]:
    """The nodes that one was fused from."""
    text = str(facts[_MADE_OF].value) if _MADE_OF in facts else ""
    return tuple(filter(None, text.split(",")))
