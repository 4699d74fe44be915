"""Snapshots of the machine while something runs on it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from tks_edge_runtime.device.machine import Machine

_ROOT = Path("/")


class Sampler:
    """Takes a snapshot of the machine once a second, in a thread of its own, while its block runs. For one use.

    The files stay open and nothing is searched for again, so that a snapshot takes about a millisecond of this
    process's time; `benchmarks/sampling_overhead.py` measures what that does to a latency.

    Attributes:
        states: the snapshots, oldest first: one on entering, one each period, one on leaving.
    """

    def __init__(self, root: Path = _ROOT, *, period: float = 1.0) -> None:
        self.states: list[dict[str, Any]] = []
        self._root = root
        self._period = period
        self._machine: Machine | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="device state", daemon=True)

    def _sample(self) -> None:
        while not self._stopped.wait(self._period):
            self.snapshot()

    def snapshot(self) -> None:
        """Take one snapshot now, beside those of the thread."""
        if self._machine is not None:
            self.states.append(self._machine.state())

    def between(self, start: float, end: float) -> list[dict[str, Any]]:
        """Return the snapshots taken from `start` to `end`, in s since the epoch."""
        return [s for s in self.states if start <= s["time"] <= end]

    def __enter__(self) -> Sampler:
        self._machine = Machine(self._root)
        self.snapshot()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self.snapshot()
        if self._machine is not None:
            self._machine.close()
            self._machine = None
