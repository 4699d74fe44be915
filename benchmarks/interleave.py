"""Worker processes that take turns, A B B A, and what their turns took."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class Job(DataclassInstance, Protocol):
        """What a worker holds: a dataclass that JSON can hold, and the module that serves it."""

        program: ClassVar[str]

        @property
        def threads(self) -> int:
            """Inside one operator."""
            ...


Key = TypeVar("Key")
_ROOT = Path(__file__).resolve().parents[1]
_WARM_UP_SECONDS = 0.2
_RUNS = 3
"""In a turn; as many for every variant, since the least of short turns is less than that of long ones."""
_LONGEST_REASON = 200


class WorkerError(Exception):
    """A variant cannot be run; the text is the reason."""


@dataclass(frozen=True)
class Timing:
    """What the turns of one variant took, in milliseconds a run.

    `cpu_ms` is the process's CPU time, the mean of the runs of each turn; `wall_ms` is every run's own.
    """

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)


class Worker:
    """A process that holds one variant; see `worker` for what it can be asked.

    Args:
        job: what it holds.
        variables: of its environment, beside this process's.
    """

    def __init__(self, job: Job, variables: Mapping[str, str] | None = None) -> None:
        # A library's threads would otherwise be as many as there are cores, or spin while another variant runs.
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(job.threads)}
        environment.update(variables or {})
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - see __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", job.program],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )
        self._send(asdict(job))

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It holds nothing that must be saved.
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def opened(self) -> None:
        """Wait until the variant is open; WorkerError where it cannot be."""
        self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer; WorkerError where it fails."""
        self._send(request)
        return self._answer()

    def _send(self, request: dict[str, Any]) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended: the missing answer says why
                self._process.stdin.write(json.dumps(request) + "\n")

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise WorkerError(self._end())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(" ".join(answer["error"].split())[:_LONGEST_REASON])
        return answer

    def _end(self) -> str:
        """How the process ended: by a signal (the system's, where memory ran out), or with its last words."""
        code = self._process.wait()
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()
        return f"its process ended with status {code}: {words[-1] if words else 'it said nothing'}"[:_LONGEST_REASON]


@contextlib.contextmanager
def workers(jobs: Mapping[Key, Job]) -> Iterator[dict[Key, Worker]]:
    """One worker a job, all started at once; they end with the block, however it is left."""
    with contextlib.ExitStack() as stack:
        yield {key: stack.enter_context(Worker(job)) for key, job in jobs.items()}


def take_turns(
    players: Mapping[Key, Worker], rounds: int, on_round: Callable[[int], None] | None = None, *, runs: int = _RUNS
) -> tuple[dict[Key, Timing], dict[Key, str]]:
    """Let every worker run in turn, in an order that is reversed every round.

    Args:
        players: workers that are open.
        rounds: turns of each.
        on_round: called with the number of rounds done.
        runs: in a turn.

    Returns:
        The timings, and the reasons of those that failed on the way.
    """
    timings: dict[Key, Timing] = {key: Timing() for key in players}
    failed: dict[Key, str] = {}

    def attempt(key: Key, **request: Any) -> dict[str, Any] | None:
        try:
            return players[key].ask(**request)
        except WorkerError as error:
            failed[key] = str(error)
            return None

    for key in players:
        attempt(key, warm_up=_WARM_UP_SECONDS)
    for index in range(rounds):
        for key in list(players)[:: 1 if index % 2 == 0 else -1]:
            if key not in failed and (answer := attempt(key, runs=runs)):
                timings[key].cpu_ms.append(answer["cpu_ms"])
                timings[key].wall_ms.extend(answer["wall_ms"])
        if on_round is not None:
            on_round(index + 1)
    return {key: timing for key, timing in timings.items() if key not in failed}, failed
