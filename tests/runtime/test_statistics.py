"""Statistics against their definitions: NumPy, the binomial distribution, and the interval's own equation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tks_edge_runtime.statistics import (
    Ratio,
    expected_latency,
    needed,
    ratio_of_means,
    ratio_of_medians,
    summarize,
    wilson,
)

LATENCIES = st.floats(1e-4, 1e6)


@pytest.mark.parametrize(("percentile", "samples"), [(90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_the_samples_that_a_percentile_needs_follow_from_the_binomial(percentile: float, samples: int) -> None:
    def at_most_one_beyond(n: int) -> float:
        q = 1 - percentile / 100
        return sum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in (0, 1))

    assert needed(percentile) == samples
    assert at_most_one_beyond(samples) <= 0.01 < at_most_one_beyond(samples - 1)


@pytest.mark.parametrize("percentile", [0, 100, -1, 101])
def test_a_percentile_lies_between_0_and_100(percentile: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        needed(percentile)


def test_an_expected_latency_weighs_the_median_of_each_length_and_no_slow_moment() -> None:
    trace, steps = [1.0] * 7 + [90.0, 1.0, 1.0] + [4.0, 5.0, 6.0], [1] * 10 + [8] * 3
    assert expected_latency(trace, steps) == pytest.approx((10 * 1.0 + 3 * 5.0) / 13)
    assert expected_latency(trace[::-1], steps[::-1]) == pytest.approx((10 * 1.0 + 3 * 5.0) / 13)
    with pytest.raises(ValueError, match="not those of the same runs"):
        expected_latency(trace, steps[1:])


@given(st.lists(LATENCIES, min_size=1, max_size=100))
def test_of_runs_of_one_length_the_expected_latency_is_the_median(trace: list[float]) -> None:
    assert expected_latency(trace, [3] * len(trace)) == pytest.approx(float(np.median(trace)))


@given(st.lists(LATENCIES, min_size=1, max_size=800))
def test_a_summary_agrees_with_numpy(trace: list[float]) -> None:
    summary = summarize(trace)
    assert (summary.n, summary.min, summary.max) == (len(trace), min(trace), max(trace))
    assert summary.mean == pytest.approx(np.mean(trace))
    assert summary.p50 == pytest.approx(np.median(trace))
    assert summary.iqr == pytest.approx(np.percentile(trace, 75) - np.percentile(trace, 25))
    assert summary.cv == pytest.approx(np.std(trace, ddof=1) / np.mean(trace) if len(trace) > 1 else 0)
    assert summary.throughput == pytest.approx(1000 / np.mean(trace))
    for percentile, found in ((90, summary.p90), (95, summary.p95), (99, summary.p99), (99.9, summary.p999)):
        if len(trace) < needed(percentile):
            assert found is None
        else:
            assert found == pytest.approx(np.percentile(trace, percentile))


@pytest.mark.parametrize(("n", "given_percentiles"), [(63, 0), (64, 1), (130, 2), (662, 3), (6635, 3), (6636, 4)])
def test_a_percentile_appears_with_its_last_needed_sample(n: int, given_percentiles: int) -> None:
    summary = summarize(np.arange(1, n + 1))
    tails = [summary.p90, summary.p95, summary.p99, summary.p999]
    assert [value is not None for value in tails] == [place < given_percentiles for place in range(4)]


def test_a_coarse_clock_may_give_zeros() -> None:
    assert summarize([0.0, 0.5, 0.5]).min == 0


def test_an_outlier_is_kept() -> None:
    assert summarize([1.0] * 99 + [1000.0]).max == 1000


@pytest.mark.parametrize("trace", [[], [0.0], [0.0, 0.0], [-1.0], [math.nan], [math.inf], [[1.0]]])
def test_a_trace_that_is_none_is_refused(trace: list[float]) -> None:
    with pytest.raises(ValueError, match="finite latencies"):
        summarize(trace)


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_the_ends_of_the_interval_solve_its_equation(total: int, share: float) -> None:
    """Wilson's ends are the p with |observed - p| = z sqrt(p (1 - p) / n)."""
    correct = round(share * total)
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    for end in (low, high):
        assert abs(correct / total - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / total), abs=1e-9)


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (-1, 10), (11, 10)])
def test_counts_that_are_no_accuracy_are_refused(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match="is no accuracy"):
        wilson(correct, total)


@pytest.mark.parametrize(("ratio_of", "typical"), [(ratio_of_medians, np.median), (ratio_of_means, np.mean)])
@settings(max_examples=25, deadline=None)
@given(trace=st.lists(LATENCIES, min_size=1, max_size=300), other=st.lists(LATENCIES, min_size=1, max_size=300))
def test_a_ratio_lies_between_the_ends_of_what_resampling_can_give(
    ratio_of: Callable[..., Ratio], typical: Callable[..., Any], trace: list[float], other: list[float]
) -> None:
    found = ratio_of(trace, other)
    assert found.value == pytest.approx(typical(trace) / typical(other))
    assert min(trace) / max(other) <= found.low * (1 + 1e-9)
    assert found.low <= found.high <= max(trace) / min(other) * (1 + 1e-9)
    assert found == ratio_of(trace, other)


@pytest.mark.parametrize("trace", [[], [0.0], [math.nan], [[1.0]]])
def test_what_has_no_median_has_no_ratio(trace: list[float]) -> None:
    with pytest.raises(ValueError, match="median greater than 0"):
        ratio_of_medians(trace, [1.0])


def test_the_interval_of_a_ratio_of_means_holds_the_true_one_nineteen_times_of_twenty() -> None:
    """Of runs as early exit has them: most short, whose median says nothing of how many are long."""
    generator = np.random.default_rng(5)

    def drawn(share: float) -> npt.NDArray[np.float64]:
        return np.where(generator.random(2000) < share, 8.0, 1.0)

    intervals = [ratio_of_means(drawn(0.3), drawn(0.1)) for _ in range(100)]
    assert 88 <= sum(found.low <= 3.1 / 1.7 <= found.high for found in intervals) <= 99


def test_slow_changes_within_a_run_widen_the_interval_of_means_too() -> None:
    steady = np.random.default_rng(5).lognormal(0, 0.05, 2000)
    still, moving = (ratio_of_means(trace, steady) for trace in (steady, np.sort(steady)))
    assert moving.high - moving.low > 3 * (still.high - still.low)


@pytest.mark.parametrize("trace", [[], [0.0], [math.nan], [[1.0]]])
def test_what_has_no_mean_has_no_ratio(trace: list[float]) -> None:
    with pytest.raises(ValueError, match="mean greater than 0"):
        ratio_of_means(trace, [1.0])
