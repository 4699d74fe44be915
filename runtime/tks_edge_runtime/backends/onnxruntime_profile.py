"""What ONNX Runtime's own profiler says of each node: it writes a trace into a file, which is read back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tks_edge_runtime.backends.base import NodeTime
from tks_edge_runtime.errors import TksEdgeError

_RUN = "model_run"
_KERNEL = "_kernel_time"
_NODE = "Node"


class Trace:
    """The trace of one session, in a temporary folder that is gone once it was read or closed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tks-edge-")

    def prepare(self, settings: Any) -> None:
        """Let the session that these `SessionOptions` open write it."""
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(self._folder.name) / "trace")

    def read(self, session: Any) -> list[list[NodeTime]]:
        """End the profiling of the session: its nodes, run by run.

        Raises:
            TksEdgeError: the library wrote no trace, or one that cannot be read.
        """
        try:
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
            return runs_of(events)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TksEdgeError(f"ONNX Runtime's profile cannot be read ({error}). Report it.") from error
        finally:
            self.close()

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def runs_of(events: list[dict[str, Any]]) -> list[list[NodeTime]]:
    """The nodes of a trace, run by run: the event of a run comes when it is done, after those of its nodes."""
    runs: list[list[NodeTime]] = []
    nodes: list[NodeTime] = []
    for event in events:
        name = str(event["name"])
        if event["cat"] == _NODE and name.endswith(_KERNEL):
            nodes.append(NodeTime(name.removesuffix(_KERNEL), int(event["dur"]) * 1000))
        elif name == _RUN:
            runs.append(nodes)
            nodes = []
    return runs
