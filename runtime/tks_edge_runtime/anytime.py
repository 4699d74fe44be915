"""A step graph that stops when it is sure: timestep after timestep, until a measure of the mean passes a threshold.

Source: see `exit_measures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import FRAMES, Artifact, Manifest
from tks_edge_runtime.backends import Engine, Recurrence, RunTimes, Stepper
from tks_edge_runtime.contract import InputCheck
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.exit_measures import ExitRule, mean_steps
from tks_edge_runtime.results import evaluated

if TYPE_CHECKING:
    from tks_edge_runtime.session import Session

Array = npt.NDArray[Any]

__all__ = ["Answers", "Anytime", "AnytimeEvaluation", "ExitRule"]


@dataclass(frozen=True)
class Answers:
    """What was known of each of M samples when it stopped.

    Attributes:
        logits: the mean of its logits up to then, float32 `[M, K]`.
        steps: after how many timesteps, int64 `[M]`, 1 to T.
    """

    logits: Array
    steps: Array


@dataclass(frozen=True)
class AnytimeEvaluation:
    """How many of the evaluation set's samples were classified correctly, and `stopped[t - 1]` of them at step t.

    `seconds` is how long that took, one batch after the other, refilled where there are several samples in one.
    """

    correct: int
    total: int
    stopped: tuple[int, ...]
    seconds: float

    @property
    def mean_steps(self) -> float:
        """Timesteps a sample, on average."""
        return mean_steps(self.stopped)


class Anytime:
    """A session's step graph under a rule, with states of its own; a context manager. Made by `Session.anytime`.

    Of a graph of batch 1, each sample runs until it may stop. Of a larger one, in `run` a sample that stops leaves the
    batch and the next one that waits takes its row, at rest. A sample's logits are the mean that a run without rule has
    after as many steps. One thread at a time may use it.

    Attributes:
        rule: when a sample stops.
        artifact, backend, device, timesteps, load_ms, build_ms: those of the session; no sample runs for more steps.
        first_ms: what the first call of `run_batch` took, in ms; NaN before it.
        steps: how many each sample of the last `run_batch` ran, int64 `[N]`.
        times: where the time of the last `run_batch` went, without that of the rule.
        length_varies: True: how long a run is depends on its samples.
    """

    length_varies = True

    def __init__(self, session: Session, engine: Engine, rule: ExitRule) -> None:
        manifest = session.manifest
        if len(manifest.classes) < 2:
            raise InputError(f"{session.artifact.path} knows one class: there is nothing to be sure of.")
        self.rule = rule
        self.artifact: Artifact = session.artifact
        self.backend, self.device, self.timesteps = session.backend, session.device, session.timesteps
        self.load_ms, self.build_ms, self.first_ms = session.load_ms, session.build_ms, math.nan
        self.times = RunTimes(0)
        self._engine = engine
        self._check = InputCheck(manifest.batch)
        self._frames = manifest.encoding == FRAMES
        self._size = manifest.input.shape[0]
        self._shape = (self._size, len(manifest.classes))
        self.steps: Array = np.zeros(self._size, np.int64)
        self._stepper: Stepper | None = engine.stepper(
            [Recurrence(state.input, state.output, state.zero) for state in manifest.states]
        )
        try:
            self._check_rows()
        except BaseException:
            self.close()
            raise

    def _check_rows(self) -> None:
        """Refuse states of which no row can be started again, where samples are to take turns in the batch."""
        if self._size == 1:
            return
        for state in self.manifest.states:
            if state.shape[0] != self._size:
                raise ArtifactError(
                    f"{self.artifact.path}: the state {state.name!r} is {list(state.shape)}, which is no row for each "
                    f"of {self._size} samples. Export it again."
                )
        self._open_stepper().restart([])

    @property
    def manifest(self) -> Manifest:
        """What the artifact says about itself."""
        return self.artifact.manifest

    def describe(self) -> dict[str, str]:
        """Name what runs the graph: library, version, device, threads."""
        return self._engine.describe()

    def run_batch(self, batch: Array) -> Array:
        """Run exactly one static batch until its last sample may stop: this is what is timed.

        No other sample takes the place of one that stopped before: that is for `run`.

        Args:
            batch: an array as `Manifest.batch` has it: of that shape, batch axis included, and dtype.

        Returns:
            logits `[N, K]`, float32: of each sample the mean at its own last step, which `steps` holds.

        Raises:
            InputError: `batch` is no array, or of another shape or dtype; or this is closed.
        """
        self._check.batch(batch)
        start = perf_counter_ns()
        answers = self._one(batch) if self._size == 1 else self._together(batch)
        if math.isnan(self.first_ms):
            self.first_ms = (perf_counter_ns() - start) / 1e6
        self.steps = answers.steps
        return answers.logits

    def run(self, images: Array, *, on_progress: Callable[[float], None] | None = None) -> Answers:
        """Run any number of samples, each until it may stop.

        Args:
            images: `[M, ...]`, M >= 1, with the dtype and the sample shape of `Manifest.batch` (raw pixels).
            on_progress: told the fraction that is done, 0 to 1, whenever it has grown.

        Raises:
            InputError: `images` is no array, or its rank, shape or dtype does not fit; or this is closed.
        """
        self._check.samples(images)
        progress = on_progress or (lambda _: None)
        if self._size > 1:
            return self._in_turns(images, progress)
        answers = []
        for index in range(len(images)):
            answers.append(self._one(images[index : index + 1]))
            progress((index + 1) / len(images))
        return Answers(
            np.concatenate([answer.logits for answer in answers]), np.concatenate([answer.steps for answer in answers])
        )

    def evaluate(self, on_progress: Callable[[float], None] | None = None) -> AnytimeEvaluation:
        """Count the correct top-1 predictions over the whole evaluation set, and the steps that they took.

        Args:
            on_progress: told the fraction that is done, 0 to 1.

        Raises:
            ArtifactError: there is no evaluation set beside the artifact, or it is not the one the manifest names.
        """
        inputs, labels = self.artifact.evaluation_set()
        start = perf_counter_ns()
        answers = self.run(inputs, on_progress=on_progress)
        seconds = (perf_counter_ns() - start) / 1e9
        correct = evaluated(answers.logits, labels).correct
        stopped = np.bincount(answers.steps - 1, minlength=self.timesteps)
        return AnytimeEvaluation(correct, len(labels), tuple(map(int, stopped)), seconds)

    def _means(self, batch: Array) -> Iterator[tuple[int, Array]]:
        """Run a batch from rest, as long as more is asked for: t, and the mean of the logits of the first t steps."""
        stepper = self._open_stepper()
        stepper.reset()
        total = np.zeros(self._shape, np.float32)
        for t in range(1, self.timesteps + 1):
            if self._frames or t == 1:
                self._feed(stepper, batch[:, t - 1] if self._frames else batch)
            total += stepper.step()["logits"]
            self.times = stepper.times if t == 1 else self.times + stepper.times
            yield t, total / np.float32(t)

    def _one(self, batch: Array) -> Answers:
        """A batch of one sample."""
        for t, mean in self._means(batch):
            if t == self.timesteps or self.rule.passes_one(mean[0]):
                break
        return Answers(mean, np.array([t]))

    def _together(self, batch: Array) -> Answers:
        """A batch of several samples, which all begin at once."""
        logits, steps = np.empty(self._shape, np.float32), np.zeros(self._size, np.int64)
        for t, mean in self._means(batch):
            stops = (steps == 0) & (self.rule.passes(mean) | (t == self.timesteps))
            logits[stops], steps[stops] = mean[stops], t
            if steps.all():
                break
        return Answers(logits, steps)

    def _in_turns(self, images: Array, progress: Callable[[float], None]) -> Answers:
        """Any number of samples, of which each takes the row of one that stopped."""
        stepper = self._open_stepper()
        stepper.reset()
        rows = _Rows(self._size, len(images))
        total = np.zeros(self._shape, np.float32)
        logits, steps = np.empty((len(images), self._shape[1]), np.float32), np.zeros(len(images), np.int64)
        changed = True
        while rows.busy.any():
            if self._frames:
                self._feed(stepper, images[rows.sample, np.minimum(rows.steps, self.timesteps - 1)])
            elif changed:
                self._feed(stepper, images[rows.sample])
                changed = False
            total += stepper.step()["logits"]
            rows.steps += 1
            mean = total / rows.steps.astype(np.float32)[:, None]
            stops = np.flatnonzero(rows.busy & (self.rule.passes(mean) | (rows.steps == self.timesteps)))
            if not len(stops):
                continue
            logits[rows.sample[stops]], steps[rows.sample[stops]] = mean[stops], rows.steps[stops]
            refilled = rows.next(stops)
            stepper.restart(refilled.tolist())
            total[refilled] = 0
            changed = len(refilled) > 0
            progress(rows.done / len(images))
        return Answers(logits, steps)

    def _feed(self, stepper: Stepper, frame: Array) -> None:
        stepper.feed({self.manifest.input.name: frame})

    def close(self) -> None:
        """Free the states. It cannot run afterwards."""
        if self._stepper is not None:
            self._stepper.close()
            self._stepper = None

    def _open_stepper(self) -> Stepper:
        if self._stepper is None:
            raise InputError("this anytime session is closed; open another one with Session.anytime().")
        return self._stepper

    def __enter__(self) -> Anytime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Rows:
    """Which sample is in which row of the batch.

    Attributes:
        sample: the index of the sample in each row, int64 `[N]`; a row that is not busy computes something unused.
        steps: how many steps each has run, int64 `[N]`.
        busy: the rows whose samples have not stopped, bool `[N]`.
        done: how many samples have stopped.
    """

    def __init__(self, size: int, samples: int) -> None:
        self._samples, self._waiting = samples, min(size, samples)
        self.sample: Array = np.minimum(np.arange(size), samples - 1)
        self.steps: Array = np.zeros(size, np.int64)
        self.busy: Array = np.arange(size) < samples
        self.done = 0

    def next(self, stopped: Array) -> Array:
        """Put the samples that wait into rows whose samples stopped: which rows have new ones."""
        taken = min(len(stopped), self._samples - self._waiting)
        refilled: Array = stopped[:taken]
        self.sample[refilled] = np.arange(self._waiting, self._waiting + taken)
        self.steps[refilled] = 0
        self.busy[stopped[taken:]] = False
        self.done += len(stopped)
        self._waiting += taken
        return refilled
