"""Trains again and again, killed with SIGKILL at random moments, until a training comes to its end.

    python -m tests.tks_edge.kill_and_resume RUN...

One process of its own, because it forks: the children begin with torch loaded and cost a fraction of a second each. It
prints how many children it killed, and how many of those while a file was being written, a line a run.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.tks_edge.ranks import use_few_digits
from tests.tks_edge.short_training import short
from tks_edge.checkpoint import CONFIG
from tks_edge.runs import is_run
from tks_edge.trainer import train
from tks_edge_runtime import files

_KILLS = 4
_SAVE_EVERY = 2


class _Telling:
    """Writes a byte for each step, so that a kill hits a step and not the time that a machine takes for it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def began(self, *_: object) -> None: ...

    def stepped(self, *_: object) -> None:
        os.write(self._pipe, b"s")

    def ended_epoch(self, *_: object) -> None: ...

    def noted(self, text: str) -> None: ...

    def warned(self, text: str) -> None: ...


def _train(path: Path, pipe: int, slow: bool) -> None:
    if slow:
        # A file stands half written for a while, so that a kill can meet it there.
        real = files._publish

        def publish(temporary: Path, path: Path) -> None:
            whole = temporary.read_bytes()
            temporary.write_bytes(whole[: len(whole) // 2])
            if path.name != CONFIG:
                os.write(pipe, b"w")
                time.sleep(0.2)
            temporary.write_bytes(whole)
            real(temporary, path)

        files._publish = publish
    train(short(), path, resume=is_run(path), save_every=_SAVE_EVERY, watcher=_Telling(pipe))


def _attempt(path: Path, kill_after: int | None, event: bytes) -> bool:
    """Train in a child, and kill it when it has told of `event` as often; whether it was killed."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _train(path, theirs, slow=event == b"w")
        os._exit(0)
    os.close(theirs)
    seen = 0
    while told := os.read(ours, 1):
        seen += told == event
        if seen == kill_after:
            os.kill(child, signal.SIGKILL)
            break
    os.close(ours)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"a training failed with {os.waitstatus_to_exitcode(status)}")
    return os.WIFSIGNALED(status)


def main(path: Path, seed: int) -> None:
    """Kill some trainings into `path`, let the last one end."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    killed = written = 0
    for _ in range(_KILLS):
        event = draw.choice([b"s", b"w"])
        hit = _attempt(path, draw.randint(1, 4), event)
        killed += hit
        written += hit and event == b"w"
    if _attempt(path, None, b"s"):
        sys.exit("the last training was killed by something else")
    print(killed, written)  # noqa: T201 - what the test reads


if __name__ == "__main__":
    use_few_digits()
    for number, run in enumerate(sys.argv[1:]):
        main(Path(run), number)
