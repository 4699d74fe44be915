"""Workers are started, watched, ended when they take too long, and started again behind a case that killed them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.fuzz.worker import damage_of

ROOT = Path(__file__).parent.parent.parent
OnCase = Callable[[dict[str, Any]], None]

SECONDS = 30.0
"""A case that takes longer hangs. Most take some hundredths of a second."""
MEGABYTES = 200.0
"""How much a case may let the process grow: a small graph, its library's buffers, and nothing like a bomb."""


@dataclass(frozen=True)
class Failure:
    """A case that did not end as every case must, in a `TksEdgeError` or well, within its bounds."""

    index: int
    damage: str
    what: str


@dataclass(frozen=True)
class Result:
    """All cases: how many ended in an error for the user, how many worked all the same, and those that failed."""

    refused: int
    worked: int
    failures: tuple[Failure, ...]


def _environment() -> dict[str, str]:
    path = os.pathsep.join(str(ROOT / folder) for folder in (".", "export", "runtime", "models"))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


def _start(arguments: list[str], log: IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.worker", *arguments],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=_environment(),
    )


def _lines(worker: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """What a worker says, as it comes; None at its end."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert worker.stdout is not None
        with worker.stdout:
            for line in worker.stdout:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _ended(worker: subprocess.Popen[str], log: IO[bytes]) -> str:
    """How a worker died, in words, with what it left on standard error."""
    code = worker.wait()
    log.seek(0)
    left = log.read().decode(errors="replace")[-1500:]
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"the process ended with {how}\n{left}"


def _judged(document: dict[str, Any]) -> str | None:
    """What is wrong with an outcome, in words."""
    if document["fault"] is not None:
        return str(document["fault"])
    if document["seconds"] > SECONDS:
        return f"it took {document['seconds']} s"
    if document["megabytes"] > MEGABYTES:
        return f"it took {document['megabytes']} MB"
    return None


def _watch(arguments: list[str], first: int, count: int, on_case: OnCase) -> tuple[int, Failure | None]:
    """Run one worker to its end: the case to go on with, and the failure of the one that it did not survive."""
    with tempfile.TemporaryFile() as log:
        worker = _start([*arguments, str(first), str(count)], log)
        lines, running, behind = _lines(worker), first, first
        try:
            while (line := lines.get(timeout=2 * SECONDS)) is not None:
                document = json.loads(line)
                if "begins" in document:
                    running = document["begins"]
                else:
                    behind = running + 1
                    on_case(document)
        except queue.Empty:
            worker.kill()
            return running + 1, Failure(running, damage_of(running).__name__, f"it hangs; {_ended(worker, log)}")
        ended = _ended(worker, log)
        return (count, None) if behind == count else (running + 1, Failure(running, damage_of(running).__name__, ended))


def fuzz(originals: Path, *, seed: int, count: int, backend: str, on_case: OnCase = lambda _: None) -> Result:
    """Run `count` cases, in one worker after another.

    Args:
        originals: what `write_originals` wrote.
        seed: what chance begins with; the same seed gives the same cases.
        count: how many cases.
        backend: what runs them.
        on_case: told the outcome of each case that its worker survived, as JSON has it.
    """
    outcomes: list[dict[str, Any]] = []
    failures: list[Failure] = []

    def told(outcome: dict[str, Any]) -> None:
        outcomes.append(outcome)
        on_case(outcome)
        if wrong := _judged(outcome):
            failures.append(Failure(outcome["index"], outcome["damage"], wrong))

    index = 0
    while index < count:
        index, failure = _watch([str(originals), str(seed), backend], index, count, told)
        failures += [] if failure is None else [failure]
    refused = sum(bool(outcome["errors"]) for outcome in outcomes)
    return Result(refused, len(outcomes) - refused, tuple(failures))
