"""Ctrl-C and SIGTERM as requests: what runs may end its step and save before it stops."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_LAST_WORDS = 5.0  # seconds


def leave_time_for_last_words() -> None:
    """From now on, let SIGTERM end this process some seconds later.

    When a process of a job fails, torchrun sends it to the others, which find out by themselves at the same moment and
    have something to say.
    """

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        end = threading.Timer(_LAST_WORDS, os._exit, (128 + signum,))
        end.daemon = True
        end.start()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, note)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Within this block a first Ctrl-C is only noted; the function it yields says whether there was one.

    A second one interrupts at once. SIGTERM, by which schedulers and torchrun end a job, is noted however often it
    comes. Outside the main thread Python delivers no signal, and nothing changes.
    """
    asked = False

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        nonlocal asked
        if asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
