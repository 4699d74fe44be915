"""A stream: a step graph at work, one timestep a call, its states kept where the engine computes."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import Manifest
from tks_edge_runtime.backends import Engine, Recurrence, RunTimes, Stepper
from tks_edge_runtime.contract import InputCheck
from tks_edge_runtime.errors import InputError

Array = npt.NDArray[Any]


class Stream:
    """The timesteps of one step graph, as many as there are frames; a context manager. Made by `Session.stream`.

    Streams of one session do not disturb each other; one stream is for one thread at a time. It starts at rest, with
    every state at its zero.
    """

    def __init__(self, manifest: Manifest, engine: Engine) -> None:
        self._input = manifest.input.name
        self._check = InputCheck(manifest.input)
        states = [Recurrence(state.input, state.output, state.zero) for state in manifest.states]
        self._stepper: Stepper | None = engine.stepper(states)
        self._sum = np.zeros((manifest.input.shape[0], len(manifest.classes)), np.float32)
        self._steps = 0
        self._times = RunTimes(0)

    @property
    def times(self) -> RunTimes:
        """Where the time of all steps went since the stream was opened or reset."""
        return self._times

    @property
    def steps(self) -> int:
        """How many steps were taken since the stream was opened or reset."""
        return self._steps

    @property
    def mean(self) -> Array:
        """The mean of the logits of all steps so far, `[N, K]` float32: after T steps, the static graph's at that T.

        It is their sum in the order of time, divided by their number: float32, as the mean over T is in a static graph.

        Raises:
            InputError: no step was taken yet.
        """
        if self._steps == 0:
            raise InputError("the stream has taken no step since it was opened or reset: there is no mean yet.")
        mean: Array = self._sum / np.float32(self._steps)
        return mean

    def step(self, frame: Array | None = None) -> Array:
        """Run one timestep.

        Args:
            frame: the input of this step, one batch of the manifest's input shape and dtype; None repeats the frame
                before, as for a still image, without copying it again.

        Returns:
            the logits of this step alone, `[N, K]`, float32.

        Raises:
            InputError: `frame` is no array, of another shape or dtype, or there is none to repeat; or the stream is
                closed.
        """
        stepper = self._open_stepper()
        if frame is not None:
            self._check.batch(frame)
            stepper.feed({self._input: frame})
        elif self._steps == 0:
            raise InputError("the first step of a stream needs a frame; those after it may repeat it.")
        logits = stepper.step()["logits"]
        self._sum += logits
        self._times = stepper.times if self._steps == 0 else self._times + stepper.times
        self._steps += 1
        return logits

    def reset(self) -> None:
        """Start again at rest: the states, the count of steps and the mean are those of a new stream.

        Raises:
            InputError: the stream is closed.
        """
        self._open_stepper().reset()
        self._sum[...] = 0
        self._steps = 0
        self._times = RunTimes(0)

    def close(self) -> None:
        """Free the states. The stream cannot step afterwards; its mean stays."""
        if self._stepper is not None:
            self._stepper.close()
            self._stepper = None

    def _open_stepper(self) -> Stepper:
        if self._stepper is None:
            raise InputError("the stream is closed; open another one with Session.stream().")
        return self._stepper

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
