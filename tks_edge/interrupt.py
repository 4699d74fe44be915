"""Ctrl-C as a request: what runs may end its step and save before it stops."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Within this block a first Ctrl-C is only noted; the function it yields says whether there was one.

    A second one interrupts at once. Outside the main thread Python delivers no signal, and nothing changes.
    """
    asked = False

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
