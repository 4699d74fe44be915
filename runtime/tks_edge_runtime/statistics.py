"""What is said about a latency trace and about an accuracy, and how many samples each statement needs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CONFIDENCE = 0.99
_RESAMPLES, _PIECES, _LEVELS = 2000, 50, 1000


@functools.cache
def needed(percentile: float) -> int:
    """Count the samples that a percentile needs to be reported: 64 for 90, 130 for 95, 662 for 99, 6636 for 99.9.

    The early-stopping rule of MLPerf LoadGen for a single stream, at 99 % confidence and tolerance 0. Let the true
    p-th percentile be x. Of n independent samples, the number beyond x is binomial with n and q = 1 - p/100. Calling
    the second largest sample an upper bound of x is wrong where fewer than two lie beyond x, with the probability

        P(at most 1 of n beyond) = (1 - q)^n + n q (1 - q)^(n - 1)

    n is the least number at which this is at most 1 - 0.99. (None beyond would need fewer samples, 44 for the 90th, but
    then a single hiccup decides the estimate.)

    Source: MLCommons inference, loadgen/early_stopping.cc and loadgen/results.cc (one query over the latency allowed).
    """
    if not 0 < percentile < 100:
        raise ValueError(f"a percentile lies between 0 and 100, not at {percentile}")
    beyond = 1 - percentile / 100
    n = 2
    while (1 - beyond) ** n + n * beyond * (1 - beyond) ** (n - 1) > 1 - CONFIDENCE:
        n += 1
    return n


@dataclass(frozen=True)
class LatencySummary:
    """A latency trace in numbers: times in ms, throughput in inferences per second.

    A percentile is None where n is smaller than `needed` says. `iqr` is the distance of the quartiles; `cv` the
    coefficient of variation, standard deviation over mean; `throughput` is 1000 / mean, of batches: the caller
    multiplies by the batch size.
    """

    n: int
    min: float
    mean: float
    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    max: float
    iqr: float
    cv: float
    throughput: float


def summarize(trace_ms: npt.ArrayLike) -> LatencySummary:
    """Summarize a trace of latencies in ms, in any order; nothing is clipped or left out.

    Percentiles interpolate linearly between the two nearest samples.

    Raises:
        ValueError: the trace is empty or nothing but zeros, or a latency is not a finite number of 0 or more. (A device
            whose clock is coarse may give 0 ms for a short copy.)
    """
    trace = np.asarray(trace_ms, dtype=np.float64)
    if trace.ndim != 1 or len(trace) == 0 or not np.isfinite(trace).all() or trace.min() < 0 or not trace.any():
        raise ValueError("a trace is a row of finite latencies in ms, none less than 0 and not all 0")
    n, mean = len(trace), float(trace.mean())
    quartile1, median, quartile3 = (float(value) for value in np.percentile(trace, (25, 50, 75)))

    def tail(percentile: float) -> float | None:
        return float(np.percentile(trace, percentile)) if n >= needed(percentile) else None

    return LatencySummary(
        n=n,
        min=float(trace.min()),
        mean=mean,
        p50=median,
        p90=tail(90),
        p95=tail(95),
        p99=tail(99),
        p999=tail(99.9),
        max=float(trace.max()),
        iqr=quartile3 - quartile1,
        cv=float(trace.std(ddof=1)) / mean if n > 1 else 0.0,
        throughput=1000 / mean,
    )


def wilson(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's score interval of an accuracy, as fractions; 95 % with the default z.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).

    Raises:
        ValueError: `total` is less than 1, or `correct` is not between 0 and `total`.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} correct of {total} is no accuracy")
    share, weight = correct / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    # At the ends the formula is exact and rounding is not.
    return 0.0 if correct == 0 else centre - half, 1.0 if correct == total else centre + half


@dataclass(frozen=True)
class Ratio:
    """A ratio, and its 95 % interval `low` to `high`."""

    value: float
    low: float
    high: float


def guesses(correct: int, total: int, classes: int) -> bool:
    """Whether an accuracy is within noise of what naming one of the classes at random gives, or below."""
    return classes > 1 and wilson(correct, total)[0] <= 1 / classes


def expected_latency(trace_ms: npt.ArrayLike, steps: npt.ArrayLike) -> float:
    """What a run takes whose length depends on its sample: the median of each length, by how often that occurs.

    Slow moments of the machine are in it no more than in a median, which alone would say nothing of rare long runs.

    Args:
        trace_ms: every run in ms.
        steps: how many timesteps each of them had.

    Raises:
        ValueError: there are no runs, or not as many of one as of the other.
    """
    trace, lengths = np.asarray(trace_ms, dtype=np.float64), np.asarray(steps)
    if len(trace) == 0 or trace.shape != lengths.shape:
        raise ValueError(f"{len(trace)} latencies and {len(lengths)} numbers of steps are not those of the same runs")
    found = [trace[lengths == length] for length in np.unique(lengths)]
    return float(sum(len(runs) * np.median(runs) for runs in found) / len(trace))


def ratio_of_medians(trace_ms: npt.ArrayLike, other_ms: npt.ArrayLike) -> Ratio:
    """Compare two traces that were measured apart: the median of `trace_ms` in units of that of `other_ms`.

    The interval is a bootstrap: both traces are resampled 2000 times, in up to 50 pieces of consecutive runs each,
    since a run is like those before it and single runs would make the interval too narrow. Medians are resampled to a
    thousandth of the runs. It is the same at each call.

    It says how much each trace varies in itself. What differed between the two measurements is not in it.

    Source: H. R. Künsch, The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17
    (1989), with blocks that do not overlap.

    Raises:
        ValueError: a trace is empty, or its median is not a finite number greater than 0.
    """
    return _ratio(trace_ms, other_ms, "median", np.median, _resampled_medians)


def ratio_of_means(trace_ms: npt.ArrayLike, other_ms: npt.ArrayLike) -> Ratio:
    """Compare two traces that were measured apart: the mean of `trace_ms` in units of that of `other_ms`.

    For runs whose length depends on what they are given, as with early exit: where most are short, the median says
    nothing of how many are long. The interval is that of `ratio_of_medians`, from the same pieces.

    Raises:
        ValueError: a trace is empty, or its mean is not a finite number greater than 0.
    """
    return _ratio(trace_ms, other_ms, "mean", np.mean, _resampled_means)


def _ratio(
    trace_ms: npt.ArrayLike,
    other_ms: npt.ArrayLike,
    name: str,
    typical: Callable[[Array], Any],
    resampled: Callable[[Array, np.random.Generator], Array],
) -> Ratio:
    traces = [np.asarray(trace, dtype=np.float64) for trace in (trace_ms, other_ms)]
    for trace in traces:
        if trace.ndim != 1 or len(trace) == 0 or not np.isfinite(trace).all() or typical(trace) <= 0:
            raise ValueError(f"a trace is a row of finite latencies in ms with a {name} greater than 0")
    generator = np.random.default_rng(0)
    found, others = (resampled(trace, generator) for trace in traces)
    low, high = np.percentile(found / others, (2.5, 97.5))
    return Ratio(float(typical(traces[0]) / typical(traces[1])), float(low), float(high))


def _pieces(trace: Array) -> list[Array]:
    """The pieces of consecutive runs that are drawn whole."""
    return np.array_split(trace, min(_PIECES, len(trace)))


def _drawn(pieces: int, generator: np.random.Generator) -> Array:
    """How often each piece is in each resampled trace: [resamples, pieces].

    As floating-point numbers, which hold these counts exactly: NumPy multiplies integers many times slower.
    """
    drawn = generator.multinomial(pieces, np.full(pieces, 1 / pieces), size=_RESAMPLES)
    return drawn.astype(np.float64)


def _resampled_means(trace: Array, generator: np.random.Generator) -> Array:
    """The mean of each resampled trace."""
    pieces = _pieces(trace)
    drawn = _drawn(len(pieces), generator)
    sums, lengths = np.array([piece.sum() for piece in pieces]), np.array([len(piece) for piece in pieces])
    means: Array = (drawn @ sums) / (drawn @ lengths)
    return means


def _resampled_medians(trace: Array, generator: np.random.Generator) -> Array:
    """The median of each resampled trace, found in counts over the quantiles: a trace may hold millions of runs."""
    pieces = _pieces(trace)
    levels = np.unique(np.quantile(trace, np.linspace(0, 1, _LEVELS + 1), method="inverted_cdf"))
    counts = np.stack([np.bincount(np.searchsorted(levels, piece), minlength=len(levels)) for piece in pieces])
    below = np.cumsum(_drawn(len(pieces), generator) @ counts.astype(np.float64), axis=1)
    lower, upper = (np.argmax(below > place[:, None], axis=1) for place in ((below[:, -1] - 1) // 2, below[:, -1] // 2))
    medians: Array = (levels[lower] + levels[upper]) / 2
    return medians
