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


def fuzz(
    originals: Path,
    *,
    seed: int,
    count: int,
    backend: str,
    first: int = 0,
    step: int = 1,
    on_case: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Result:
    """Run the cases `first`, `first + step`, ... below `count`, in one worker after another.

    Args:
        originals: what `write_originals` wrote.
        seed: what chance begins with; the same seed gives the same cases.
        count: where the cases end.
        backend: what runs them.
        first: the first case.
        step: from one case to the next.
        on_case: told the outcome of each case, as JSON has it.
    """
    outcomes: list[dict[str, Any]] = []
    failures: list[Failure] = []
    index = first
    while index < count:
        with tempfile.TemporaryFile() as log:
            worker = _start([str(originals), str(seed), backend, str(index), str(step), str(count)], log)
            lines = _lines(worker)
            running = index
            try:
                while (line := lines.get(timeout=SECONDS * 2)) is not None:
                    document = json.loads(line)
                    running = document.get("begins", running)
                    if "damage" not in document:
                        continue
                    outcomes.append(document)
                    on_case(document)
                    index = running + step
                    if wrong := _judged(document):
                        failures.append(Failure(running, document["damage"], wrong))
            except queue.Empty:
                worker.kill()
                failures.append(Failure(running, damage_of(running).__name__, f"it hangs; {_ended(worker, log)}"))
                index = running + step
            else:
                if index < count:
                    failures.append(Failure(running, damage_of(running).__name__, _ended(worker, log)))
                    index = running + step
            worker.wait()
    refused = sum(bool(outcome["errors"]) for outcome in outcomes)
    return Result(refused, len(outcomes) - refused, tuple(failures))
