"""The latency of one session: the record that `measure` makes, and what makes it doubtful."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tks_edge_runtime.statistics import LatencySummary

_CV_LIMIT = 0.025
_IQR_LIMIT = 0.10


@dataclass(frozen=True)
class ColdStart:
    """What starting costs, in ms: opening the file (the library already imported), and the first inference after it."""

    load_ms: float
    first_ms: float


@dataclass(frozen=True)
class WarmUp:
    """How long a session was warmed up, and whether its latency had become steady by then."""

    seconds: float
    runs: int
    steady: bool


@dataclass(frozen=True)
class Measurement:
    """The latency of one session.

    Attributes:
        summary: wall time in ms of one static batch, in numbers.
        trace_ms: each timed run in ms, in the order they ran; nothing is left out.
        cpu_ms: process CPU time of one run in ms, all threads together: the mean over all blocks. Neighbours on a
            shared machine disturb it less than wall time.
        cpu_ms_min: the same, of the block where it was least.
        cold_start: what starting cost.
        warm_up: how it was warmed up.
        warnings: what makes these numbers doubtful, in sentences.
        unstable: whether the CPU was throttled, or its clock fell, during the measurement.
    """

    summary: LatencySummary
    trace_ms: tuple[float, ...]
    cpu_ms: float
    cpu_ms_min: float
    cold_start: ColdStart
    warm_up: WarmUp
    warnings: tuple[str, ...]
    unstable: bool

    def to_dict(self, include_trace: bool) -> dict[str, Any]:
        """Return the fields by name, for JSON; `trace_ms` only where asked for."""
        document = dataclasses.asdict(self)
        document["warnings"] = list(self.warnings)
        document["trace_ms"] = list(self.trace_ms)
        if not include_trace:
            del document["trace_ms"]
        return document


def doubts(summary: LatencySummary, warm_up: WarmUp, *, spinning_together: bool) -> Iterator[str]:
    """Say in sentences what about one session's trace makes its numbers doubtful.

    `spinning_together`: whether its idle threads waited actively while other sessions were measured in turns with it.
    """
    if summary.cv > _CV_LIMIT:
        yield f"latency varies: standard deviation {summary.cv:.1%} of the mean (more than {_CV_LIMIT:.1%})"
    if summary.iqr >= _IQR_LIMIT * summary.p50:
        share = summary.iqr / summary.p50
        yield f"latency spreads: interquartile range {share:.0%} of the median ({_IQR_LIMIT:.0%} or more)"
    if not warm_up.steady:
        yield f"not steady after a warm-up of {warm_up.seconds:.1f} s"
    if spinning_together:
        yield "several sessions with spinning threads slow each other down; load them with spinning=False"
