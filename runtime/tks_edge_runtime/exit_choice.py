"""Which rule to stop by: the threshold with the fewest timesteps among those that cost no more accuracy than allowed.

A sample stops at the first step whose certainty reaches the threshold: all that counts of a step is the largest
certainty up to it. Let the threshold fall from above all of them. At each of these values one sample goes from stopping
at step t + 1 to stopping at step t. So one pass over the sorted values, with running sums, tells the right answers at
every threshold, and the steps fall from each to the next. Certainties are rounded down to billionths before: a sample
passes the threshold that it gave in spite of rounding elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.errors import InputError
from tks_edge_runtime.exit_measures import MEASURES, ExitRule, certainty, mean_steps

Array = npt.NDArray[Any]
_GRID = 1e9


@dataclass(frozen=True)
class Outcome:
    """What a rule gives on M samples: how many are right, and `stopped[t - 1]`, how many stop at step t."""

    correct: int
    stopped: tuple[int, ...]

    @property
    def samples(self) -> int:
        """M."""
        return sum(self.stopped)

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.correct / self.samples

    @property
    def mean_steps(self) -> float:
        """Timesteps a sample, on average."""
        return mean_steps(self.stopped)


class Trial:
    """Samples that ran to the end, on which rules are tried.

    Args:
        logits: of each step alone, float32 `[T, M, K]`, K >= 2.
        labels: the true classes, int64 `[M]`.

    Raises:
        InputError: there is no sample, no second step, or no label for each sample.
    """

    def __init__(self, logits: Array, labels: Array) -> None:
        if logits.ndim != 3 or logits.shape[0] < 2 or logits.shape[1] < 1 or labels.shape != logits.shape[1:2]:
            raise InputError(
                f"logits are {list(logits.shape)} and labels {list(labels.shape)}; a rule is chosen on logits [T, M, "
                "K] of at least two steps, and a label for each of the M samples."
            )
        steps = np.arange(1, len(logits) + 1, dtype=np.float32)
        # Summed in the order of time, in float32, as a run sums them.
        self._means = np.cumsum(logits, axis=0, dtype=np.float32) / steps[:, None, None]
        self._right = self._means.argmax(axis=-1) == labels

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self._means)

    def outcome(self, rule: ExitRule | None = None) -> Outcome:
        """What a rule gives; without one, every sample runs for T steps."""
        stops = np.zeros(self._right.shape, bool)
        if rule is not None:
            for t, means in enumerate(self._means):
                stops[t] = rule.passes(means)
        stops[-1] = True
        last = stops.argmax(axis=0)
        right = int(np.count_nonzero(self._right[last, np.arange(len(last))]))
        return Outcome(right, tuple(map(int, np.bincount(last, minlength=self.timesteps))))

    def choose(self, measure: str, max_loss: float) -> ExitRule | None:
        """The rule of this measure with the fewest steps that keeps within `max_loss`; of equals, the strictest.

        Args:
            measure: one of `MEASURES`.
            max_loss: how many points (hundredths of all samples) fewer may be right than at T.

        Returns:
            None where no threshold that stops any sample early keeps within it.

        Raises:
            InputError: `max_loss` is not 0 to 100.
        """
        if not 0 <= max_loss <= 100:
            raise InputError(f"the loss allowed is {max_loss} points; possible is 0 to 100.")
        found = [np.floor(certainty(measure, means) * _GRID) for means in self._means[:-1]]
        surest = np.maximum.accumulate(found)
        gained = self._right[:-1].astype(np.int64) - self._right[1:]
        order = np.argsort(-surest, axis=None, kind="stable")
        values, gains = surest.ravel()[order], np.cumsum(gained.ravel()[order])
        is_last = np.append(values[1:] != values[:-1], True)
        (kept,) = np.nonzero(is_last & (gains >= -allowed_errors(max_loss, self._right.shape[1])))
        if not len(kept):
            return None
        return ExitRule(measure, abs(float(values[kept[-1]])) / _GRID)


def allowed_errors(max_loss: float, samples: int) -> int:
    """How many of the samples a loss of `max_loss` points is, rounded down."""
    # As it was typed: 0.7 points of 1000 samples are 7 of them, though 0.7 is no binary fraction.
    return int(Fraction(str(max_loss)) * samples / 100)


def best_rule(trial: Trial, max_loss: float, measures: Sequence[str] = MEASURES) -> ExitRule | None:
    """Of several measures, the rule with the fewest steps; of equals, the most accurate, then the measure named first.

    Args:
        trial: the samples.
        max_loss: as for `Trial.choose`.
        measures: which to compare.

    Returns:
        None where no measure gains anything.
    """
    rules = [rule for measure in measures if (rule := trial.choose(measure, max_loss)) is not None]
    return min(rules, key=lambda rule: _merit(trial.outcome(rule)), default=None)


def _merit(outcome: Outcome) -> tuple[float, int]:
    return outcome.mean_steps, -outcome.correct
