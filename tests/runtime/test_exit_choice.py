"""The rule that is chosen has the fewest steps of all that cost no more than allowed: compared with every threshold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tks_edge_runtime.errors import InputError
from tks_edge_runtime.exit_choice import Outcome, Trial, best_rule
from tks_edge_runtime.exit_measures import CONFIDENCE, ENTROPY, MARGIN, MEASURES, ExitRule, certainty

Array = npt.NDArray[Any]


def means(logits: Array) -> Array:
    return np.stack([logits[:t].sum(axis=0) / np.float32(t) for t in range(1, len(logits) + 1)])


def stopped_by_hand(logits: Array, labels: Array, rule: ExitRule) -> Outcome:
    """Sample by sample, step by step."""
    right, stopped = 0, [0] * len(logits)
    for sample, label in enumerate(labels):
        for t, mean in enumerate(means(logits)[:, sample]):
            if t == len(logits) - 1 or rule.passes_one(mean):
                stopped[t] += 1
                right += mean.argmax() == label
                break
    return Outcome(int(right), tuple(stopped))


def made(seed: int, timesteps: int, samples: int, classes: int, levels: int) -> tuple[Array, Array]:
    """Logits of few levels, so that some samples are equally sure; labels that the last mean gets right mostly."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    logits = generator.integers(0, levels, (timesteps, samples, classes)).astype(np.float32) / 2
    logits[:, np.arange(samples), labels] += generator.random((timesteps, samples)).astype(np.float32).round(1)
    return logits, labels


TRIALS = st.builds(
    made,
    seed=st.integers(0, 10_000),
    timesteps=st.integers(2, 6),
    samples=st.integers(1, 30),
    classes=st.integers(2, 5),
    levels=st.integers(1, 8),
)


@given(made=TRIALS, measure=st.sampled_from(MEASURES), threshold=st.floats(0, 1))
def test_an_outcome_is_that_of_stopping_by_hand(made: tuple[Array, Array], measure: str, threshold: float) -> None:
    trial, rule = Trial(*made), ExitRule(measure, threshold)
    near = np.abs(np.abs(certainty(measure, means(made[0]))) - threshold).min() < 1e-12
    found = trial.outcome(rule)
    assert near or found == stopped_by_hand(*made, rule)
    assert sum(found.stopped) == found.samples == len(made[1])
    assert found.accuracy == found.correct / len(made[1])
    whole = trial.outcome()
    assert whole.stopped == (0,) * (trial.timesteps - 1) + (len(made[1]),)
    assert whole.correct == np.count_nonzero(means(made[0])[-1].argmax(axis=1) == made[1])
    assert whole.mean_steps == trial.timesteps


@settings(max_examples=200)
@given(
    made=TRIALS,
    measure=st.sampled_from(MEASURES),
    max_loss=st.one_of(st.sampled_from([0.0, 0.5, 5.0, 10.0, 100.0]), st.floats(0, 100)),
)
def test_no_threshold_has_fewer_steps_within_the_loss(made: tuple[Array, Array], measure: str, max_loss: float) -> None:
    trial, whole = Trial(*made), Trial(*made).outcome()
    chosen = trial.choose(measure, max_loss)
    # The certainty of each sample at each step, to the billionth: between two of them nothing changes.
    thresholds = np.unique(np.abs(np.floor(certainty(measure, means(made[0])[:-1]) * 1e9))) / 1e9
    rules = [ExitRule(measure, float(threshold)) for threshold in thresholds]
    fitting = [
        outcome.mean_steps
        for outcome in map(trial.outcome, rules)
        if 100 * Fraction(whole.correct - outcome.correct, whole.samples) <= Fraction(str(max_loss))
    ]
    if chosen is None:
        assert set(fitting) <= {trial.timesteps}
        return
    outcome = trial.outcome(chosen)
    assert 100 * Fraction(whole.correct - outcome.correct, whole.samples) <= Fraction(str(max_loss))
    assert outcome.mean_steps == min(fitting) < trial.timesteps
    # The strictest of those that stop the same samples: a little stricter, and one of them goes on.
    stricter = chosen.threshold + (-1e-9 if measure == ENTROPY else 1e-9)
    assert not 0 <= stricter <= 1 or trial.outcome(ExitRule(measure, stricter)).mean_steps > outcome.mean_steps


def two_steps(*first: tuple[float, float]) -> tuple[Array, Array]:
    """Samples of class 0, that all end with the right answer, by how sure they are of which class at first."""
    start = np.array(first, np.float32)
    return np.stack([start, np.tile(np.array([9, 0], np.float32), (len(first), 1))]), np.zeros(len(first), np.int64)


def test_wrong_answers_that_were_sure_keep_the_threshold_above_them() -> None:
    trial = Trial(*two_steps((4, 0), (3, 0), (0, 2), (1, 0)))
    for measure in MEASURES:
        rule = trial.choose(measure, 0)
        assert rule is not None
        assert trial.outcome(rule) == Outcome(4, (2, 2))
        assert rule.threshold == pytest.approx(abs(certainty(measure, np.array([3.0, 0]))), abs=2e-9)
        assert trial.choose(measure, 24.9) == rule
        loose = trial.choose(measure, 25)
        assert loose is not None
        assert trial.outcome(loose) == Outcome(3, (4, 0))


def test_the_loss_is_the_number_that_was_typed() -> None:
    """0.29 is a little less than 29 hundredths in binary; of 10,000 samples it is 29 all the same."""
    wrong = Trial(*two_steps(*[(0, 2)] * 29, *[(1, 0)] * 9971))
    rule = wrong.choose(MARGIN, 0.29)
    assert rule is not None
    assert wrong.outcome(rule) == Outcome(9971, (10_000, 0))
    assert wrong.choose(MARGIN, 0.28) is None


def test_where_the_surest_is_wrong_nothing_is_gained() -> None:
    trial = Trial(*two_steps((0, 5), (3, 0)))
    assert [trial.choose(measure, 49) for measure in MEASURES] == [None] * 3
    assert best_rule(trial, 49) is None
    assert trial.choose(MARGIN, 50) is not None


def test_the_measure_with_the_fewest_steps_is_best() -> None:
    """Three classes: of the first two samples one is wrong and surer by entropy; the third is right."""
    first = np.log(np.array([[0.50, 0.49, 0.01], [0.55, 0.23, 0.22], [0.9, 0.05, 0.05]], np.float32))
    logits = np.stack([first, np.tile(np.array([0, 20, 0], np.float32), (3, 1))])
    logits[1, 1:] = [20, 0, 0]
    labels = np.array([1, 0, 0])
    trial = Trial(logits, labels)
    steps = {}
    for measure in MEASURES:
        rule = trial.choose(measure, 0)
        assert rule is not None
        steps[measure] = trial.outcome(rule).stopped
    # By entropy the wrong first sample is surer than the second.
    assert steps == {CONFIDENCE: (2, 1), MARGIN: (2, 1), ENTROPY: (1, 2)}
    best = best_rule(trial, 0, (ENTROPY, MARGIN, CONFIDENCE))
    assert best == trial.choose(MARGIN, 0)
    assert best_rule(trial, 0) == trial.choose(CONFIDENCE, 0)
    assert best_rule(trial, 0, (ENTROPY,)) == trial.choose(ENTROPY, 0)


def test_what_no_rule_can_be_chosen_on_is_refused() -> None:
    logits, labels = made(0, 3, 5, 4, 4)
    for bad in ((logits[:1], labels), (logits[:, :0], labels[:0]), (logits, labels[:4]), (logits[0], labels)):
        with pytest.raises(InputError, match="a rule is chosen on logits"):
            Trial(*bad)
    for loss in (-0.1, 100.1, float("nan")):
        with pytest.raises(InputError, match=r"possible is 0 to 100\."):
            Trial(logits, labels).choose(MARGIN, loss)
