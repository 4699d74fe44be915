"""The command line, training on few digits; KILL_AT=5,1 kills process 1 after 5 steps and, restarted, after 1."""

from __future__ import annotations

import os
import signal

from tests.tks_edge.ranks import use_few_digits
from tks_edge import training
from tks_edge.cli import app


def _end_at(steps: int) -> None:
    real = training.Training._step
    done = 0

    def step(self: training.Training, *batch: object) -> bool:
        nonlocal done
        stop = real(self, *batch)  # type: ignore[arg-type]
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return stop

    training.Training._step = step  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    use_few_digits()
    if os.environ["RANK"] == "1":
        _end_at(int(os.environ["KILL_AT"].split(",")[int(os.environ["TORCHELASTIC_RESTART_COUNT"])]))
    app(prog_name="tks-edge")
