"""The latency of one session: the record that `measure` makes, and what makes it doubtful."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tks_edge_runtime.energy import EnergyUse
from tks_edge_runtime.statistics import LatencySummary, summarize
from tks_edge_runtime.traces import pack

_CV_LIMIT = 0.025
_IQR_LIMIT = 0.10
_ENQUEUE_LIMIT = 0.8


@dataclass(frozen=True)
class ColdStart:
    """What starting costs, in ms: opening the file (the library already imported), and the first inference after it.

    `build_ms` is the part of opening that built an engine; None where none was built, or an earlier one was found.
    """

    load_ms: float
    first_ms: float
    build_ms: float | None = None


@dataclass(frozen=True)
class WarmUp:
    """How long a session was warmed up, and whether its latency had become steady by then."""

    seconds: float
    runs: int
    steady: bool


@dataclass(frozen=True)
class Trace:
    """What each timed run took in ms, in the order they ran, nothing left out; and that in numbers."""

    summary: LatencySummary
    ms: array[float]

    @classmethod
    def of(cls, nanoseconds: array[int]) -> Trace:
        """Make a trace of times in ns."""
        ms = array("d", (time / 1e6 for time in nanoseconds))
        return cls(summarize(ms), ms)


def trace_of(nanoseconds: array[int], runs: int) -> Trace | None:
    """The trace of a part of each run, in ns; None where the engine did not measure that part of every run."""
    return Trace.of(nanoseconds) if len(nanoseconds) == runs and any(nanoseconds) else None


@dataclass(frozen=True)
class PackedTraces:
    """Every timed run, in order, as `traces.pack` packs it; None for what was not timed."""

    e2e: str
    compute: str | None = None
    enqueue: str | None = None
    copies: str | None = None


@dataclass(frozen=True)
class Measurement:
    """The latency of one session.

    Attributes:
        summary: end to end: wall time in ms of one static batch, in numbers.
        trace_ms: each timed run in ms, end to end, in the order they ran; nothing is left out.
        compute: the graph alone, by the device's clock where it has one; None where the engine does not say.
        enqueue: how long the host took to hand a run to the device; None where the graph runs on the host.
        copies: inputs to the device and outputs back; None where the graph computes in the host's memory.
        cpu_ms: process CPU time of one run in ms, all threads together: the mean over all blocks. Neighbours on a
            shared machine disturb it less than wall time.
        cpu_ms_min: the same, of the block where it was least.
        energy: what one run took in mJ, idle power subtracted, by each source that can be read here.
        cold_start: what starting cost.
        warm_up: how it was warmed up.
        warnings: what makes these numbers doubtful, in sentences.
        unstable: whether the machine was throttled, a clock fell or its power mode changed during the measurement.
        expected_ms: where the length of a run depends on its samples: see `statistics.expected_latency`.
    """

    summary: LatencySummary
    trace_ms: array[float]
    compute: Trace | None
    enqueue: Trace | None
    copies: Trace | None
    cpu_ms: float
    cpu_ms_min: float
    energy: tuple[EnergyUse, ...]
    cold_start: ColdStart
    warm_up: WarmUp
    warnings: tuple[str, ...]
    unstable: bool
    expected_ms: float | None = None

    def traces(self) -> PackedTraces:
        """Every trace, packed."""
        compute, enqueue, copies = (
            None if part is None else pack(part.ms) for part in (self.compute, self.enqueue, self.copies)
        )
        return PackedTraces(pack(self.trace_ms), compute, enqueue, copies)

    def to_dict(self, include_trace: bool) -> dict[str, Any]:
        """Return the fields by name, for JSON, parts as their summaries; `traces`, packed, only where asked for."""
        parts = {name: getattr(self, name) for name in ("compute", "enqueue", "copies")}
        document: dict[str, Any] = {
            "summary": dataclasses.asdict(self.summary),
            **{name: None if part is None else dataclasses.asdict(part.summary) for name, part in parts.items()},
            "cpu_ms": self.cpu_ms,
            "cpu_ms_min": self.cpu_ms_min,
            "energy": [dataclasses.asdict(use) for use in self.energy],
            "cold_start": dataclasses.asdict(self.cold_start),
            "warm_up": dataclasses.asdict(self.warm_up),
            "warnings": list(self.warnings),
            "unstable": self.unstable,
            "expected_ms": self.expected_ms,
        }
        return {**document, "traces": dataclasses.asdict(self.traces())} if include_trace else document


def doubts(
    summary: LatencySummary,
    warm_up: WarmUp,
    compute: Trace | None = None,
    enqueue: Trace | None = None,
    copies: Trace | None = None,
    *,
    spinning_together: bool,
    mixed_batches: int | None,
) -> Iterator[str]:
    """Say in sentences what about one session's traces makes its numbers doubtful.

    `spinning_together`: whether its idle threads waited actively while other sessions were measured in turns with it.
    `mixed_batches`: where how long a run is depends on its samples, so that latency has to spread, how many batches
    are in rotation; None where all runs are equal.
    """
    if mixed_batches is None:
        yield from _restless(summary)
    elif summary.n < mixed_batches:
        yield (
            f"{summary.n} runs are fewer than the {mixed_batches} batches in rotation, so their mix of steps may not "
            "be that of the set: take a longer --preset"
        )
    if not warm_up.steady:
        yield f"not steady after a warm-up of {warm_up.seconds:.1f} s"
    if compute is not None:
        yield from _bound_elsewhere(compute.summary.p50, enqueue, copies)
    if spinning_together:
        yield "several sessions with spinning threads slow each other down; load them with spinning=False"


def _restless(summary: LatencySummary) -> Iterator[str]:
    """What of a trace of equal runs spreads too far, in one sentence."""
    found = []
    if summary.cv > _CV_LIMIT:
        found.append(f"standard deviation {summary.cv:.1%} of the mean (more than {_CV_LIMIT:.1%})")
    if summary.iqr >= _IQR_LIMIT * summary.p50:
        found.append(f"interquartile range {summary.iqr / summary.p50:.0%} of the median ({_IQR_LIMIT:.0%} or more)")
    if found:
        yield f"latency varies: {', '.join(found)}"


def _bound_elsewhere(compute: float, enqueue: Trace | None, copies: Trace | None) -> Iterator[str]:
    """What the device waits for, where that is not its own computing; `compute` is its median in ms."""
    if enqueue is not None and enqueue.summary.p50 > _ENQUEUE_LIMIT * compute:
        yield (
            f"the host sets the pace: handing a run to the device takes {enqueue.summary.p50 / compute:.0%} of what "
            f"computing it takes (more than {_ENQUEUE_LIMIT:.0%}); a CUDA graph makes that shorter"
        )
    if copies is not None and copies.summary.p50 >= compute:
        yield (
            f"copying sets the pace: inputs and outputs take {copies.summary.p50:.3g} ms, computing {compute:.3g} ms"
        )
