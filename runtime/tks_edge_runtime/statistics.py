"""What is said about a latency trace and about an accuracy, and how many samples each statement needs."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CONFIDENCE = 0.99


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
        ValueError: the trace is empty, or a latency is not a finite number greater than 0.
    """
    trace = np.asarray(trace_ms, dtype=np.float64)
    if trace.ndim != 1 or len(trace) == 0 or not np.isfinite(trace).all() or trace.min() <= 0:
        raise ValueError("a trace is a row of finite latencies greater than 0, in ms")
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
