"""A build that takes minutes: how far it is, and how it is interrupted."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tks_edge_runtime.backends.base import BuildProgress


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Progress:
    """The phases of a build, one inside the other, as one fraction; TensorRT tells of them from any of its threads.

    Nothing may be raised into TensorRT: what goes wrong here, and Ctrl-C, ends the build, and is raised after it.

    Attributes:
        failure: what the caller's function raised.
        cancelled: whether the build was told to end.
    """

    def __init__(self, report: BuildProgress | None, what: str) -> None:
        self.failure: BaseException | None = None
        self.cancelled = False
        self._report, self._what = report, what
        self._phases: dict[str, _Phase] = {}
        self._best = 0.0
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside `parent` where that is given."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(1, steps))
        self._tell()

    def step(self, name: str, step: int) -> bool:
        """A step of a phase is done; False where the build is to end."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
        self._tell()
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase is over, with or without all of its steps."""
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is not None and phase.parent is None:
                self._best = 1.0
        self._tell()

    def _fraction(self, name: str | None) -> float:
        """How far the phases inside `name` are; the furthest of several."""
        inside = [
            min(1.0, (phase.done + self._fraction(child)) / phase.steps)
            for child, phase in self._phases.items()
            if phase.parent == name
        ]
        return max(inside, default=0.0)

    def _tell(self) -> None:
        with self._lock:
            # A phase that TensorRT adds late must not set the bar back.
            self._best = max(self._best, self._fraction(None))
            best = self._best
        if self._report is None or self.failure is not None:
            return
        try:
            self._report(self._what, best)
        except BaseException as error:  # whatever it is, it is raised by the one who waits for the build
            self.failure = error
            self.cancelled = True


def monitor(trt: Any, progress: Progress) -> Any:
    """A TensorRT `IProgressMonitor` that tells `progress`."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase or None, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


@contextlib.contextmanager
def interruptible(progress: Progress) -> Iterator[None]:
    """Let Ctrl-C end the build that runs in the block at its next step, and raise KeyboardInterrupt afterwards.

    Raised where it happens, inside a function that TensorRT called, it would end the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def cancel(*_: object) -> None:
        nonlocal interrupted
        interrupted = progress.cancelled = True

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if interrupted:
            raise KeyboardInterrupt
