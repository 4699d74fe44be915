"""What ONNX Runtime's own profiler says of each node: it writes a trace into a file, which is read back.

The trace names a node, and not what was fused into it. A convolution into which the library fuses what follows goes by
the last of these, `body.0.relu_nchwc`; which one it is, the file's own graph tells.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from tks_edge_runtime.backends.base import NodeTime
from tks_edge_runtime.errors import TksEdgeError
from tks_edge_runtime.onnx_graph import Graph, Node, read_graph

_RUN = "model_run"
_KERNEL = "_kernel_time"
_NODE = "Node"
_OPERATOR = "op_name"
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""In a file; the library's own have these words in their names: FusedConv, QLinearMatMul."""
_FUSED_BEHIND = frozenset({"Relu", "HardSigmoid", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "Add"})


class ProfileTrace:
    """The trace of one session on the graph at `path`, in a temporary folder that goes with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = tempfile.mkdtemp(prefix="tks-edge-")
        # Even where the session cannot be opened, and nobody closes anything.
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def prepare(self, settings: Any) -> None:
        """Let the session that these `SessionOptions` open write it."""
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(self._folder) / "trace")

    def read(self, session: Any) -> list[list[NodeTime]]:
        """End the profiling of the session: its nodes, run by run.

        Raises:
            TksEdgeError: the library wrote no trace, or one that cannot be read.
        """
        try:
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
            return runs_of(events, read_graph(self._path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TksEdgeError(f"ONNX Runtime's profile cannot be read ({error}). Report it.") from error
        finally:
            self.close()

    def close(self) -> None:
        """Remove the folder."""
        self._remove()


def runs_of(events: list[dict[str, Any]], graph: Graph) -> list[list[NodeTime]]:
    """The nodes of a trace, run by run: the event of a run comes when it is done, after those of its nodes."""
    origins = _Origins(graph)
    runs: list[list[NodeTime]] = []
    nodes: list[NodeTime] = []
    for event in events:
        name = str(event["name"])
        if event["cat"] == _NODE and name.endswith(_KERNEL):
            name = name.removesuffix(_KERNEL)
            made_of = origins.of(name, str(event["args"].get(_OPERATOR, "")))
            nodes.append(NodeTime(name, int(event["dur"]) * 1000, made_of))
        elif name == _RUN:
            runs.append(nodes)
            nodes = []
    return runs


class _Origins:
    """Finds the convolution or matrix product of the file that a node of the library computes."""

    def __init__(self, graph: Graph) -> None:
        self._makers = {name: node for node in graph.nodes for name in node.outputs}
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    def of(self, name: str, operator: str) -> tuple[str, ...]:
        """What was fused, by the names of outputs, the product first; nothing where the node's own name says it all."""
        if not any(product in operator for product in _PRODUCTS):
            return ()
        if (name, operator) not in self._known:
            self._known[name, operator] = self._fused(name)
        return self._known[name, operator]

    def _fused(self, name: str) -> tuple[str, ...]:
        outputs = [output for output in self._makers if name == output or name.startswith(f"{output}_")]
        pending: list[tuple[str, ...]] = [(max(outputs, key=len),)] if outputs else []
        while pending:
            chain = pending.pop(0)
            maker: Node | None = self._makers.get(chain[0])
            if maker is not None and maker.operator in _PRODUCTS:
                return chain if len(chain) > 1 else ()
            if maker is not None and maker.operator in _FUSED_BEHIND:
                pending += [(value, *chain) for value in maker.inputs]
        return ()
