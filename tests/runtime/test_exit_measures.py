"""The three measures are what their formulas say, for one sample as for many, and a rule stops on the right side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tks_edge_runtime.errors import InputError
from tks_edge_runtime.exit_measures import CONFIDENCE, ENTROPY, FEW_CLASSES, MARGIN, MEASURES, ExitRule, certainty

Array = npt.NDArray[Any]
LOGITS = st.floats(-80, 80, width=32)
ROWS = st.integers(2, 6).flatmap(lambda classes: arrays(np.float32, (3, classes), elements=LOGITS))


def by_definition(measure: str, row: Array) -> float:
    """From the softmax in Python's own numbers."""
    exponentials = [math.exp(float(value) - float(row.max())) for value in row]
    shares = sorted(value / sum(exponentials) for value in exponentials)
    if measure == ENTROPY:
        return -sum(share * math.log(share) for share in shares if share > 0) / math.log(len(row))
    return shares[-1] - (shares[-2] if measure == MARGIN else 0)


@given(rows=ROWS, measure=st.sampled_from(MEASURES))
def test_a_measure_is_what_its_formula_says(rows: Array, measure: str) -> None:
    expected = [by_definition(measure, row) for row in rows]
    found = certainty(measure, rows) * (-1 if measure == ENTROPY else 1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(certainty(measure, rows[None, :2])[0], certainty(measure, rows[:2]))


@given(rows=ROWS, measure=st.sampled_from(MEASURES), threshold=st.floats(0, 1))
def test_one_sample_is_judged_as_many_are(rows: Array, measure: str, threshold: float) -> None:
    rule = ExitRule(measure, threshold)
    distance = np.abs(np.abs(certainty(measure, rows)) - threshold)
    for row, many, near in zip(rows, rule.passes(rows), distance < 1e-12, strict=True):
        # Within rounding of the threshold either may be right.
        assert rule.passes_one(row) == many or near


@pytest.mark.parametrize("measure", MEASURES)
def test_many_classes_are_judged_alike(measure: str) -> None:
    rows = np.random.default_rng(0).normal(scale=3, size=(20, FEW_CLASSES + 1)).astype(np.float32)
    rule = ExitRule(measure, float(np.median(np.abs(certainty(measure, rows)))))
    judged = [rule.passes_one(row) for row in rows]
    assert judged == rule.passes(rows).tolist()
    assert set(judged) == {True, False}


def test_the_threshold_itself_is_enough() -> None:
    alike, sure = np.zeros((1, 2), np.float32), np.array([[2000, 0]], np.float32)
    for measure, row, threshold in (
        (CONFIDENCE, alike, 0.5),
        (CONFIDENCE, sure, 1.0),
        (MARGIN, alike, 0.0),
        (MARGIN, sure, 1.0),
        (ENTROPY, alike, 1.0),
        (ENTROPY, sure, 0.0),
    ):
        rule = ExitRule(measure, threshold)
        assert rule.passes(row).tolist() == [True]
        assert rule.passes_one(row[0])


def test_the_less_sure_goes_on() -> None:
    sure, unsure = np.array([[3, 0, 0], [1, 0, 0]], np.float32)
    for measure, threshold in ((CONFIDENCE, 0.7), (MARGIN, 0.6), (ENTROPY, 0.7)):
        rule = ExitRule(measure, threshold)
        assert (rule.passes_one(sure), rule.passes_one(unsure)) == (True, False)


@pytest.mark.parametrize("classes", range(2, 40))
def test_classes_that_are_all_alike_have_the_whole_entropy(classes: int) -> None:
    row = np.full(classes, 0.3, np.float32)
    assert ExitRule(ENTROPY, 1.0).passes_one(row)
    assert ExitRule(ENTROPY, 1.0).passes(row[None]).all()


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown measure 'margn'. Did you mean 'margin'\?"):
        ExitRule("margn", 0.5)
    for threshold in (-0.1, 1.1, math.nan, math.inf):
        with pytest.raises(InputError, match=r"the threshold of confidence is .*; allowed is 0 to 1\."):
            ExitRule(CONFIDENCE, threshold)


def test_a_rule_says_which_side_stops() -> None:
    assert str(ExitRule(MARGIN, 0.25)) == "margin >= 0.25"
    assert str(ExitRule(ENTROPY, 0.25)) == "entropy <= 0.25"
