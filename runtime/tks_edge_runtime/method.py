"""How a measurement goes: the lengths of its parts, and the sentences that a report says it in."""

from __future__ import annotations

from collections.abc import Sequence

from tks_edge_runtime.artifact import STEP
from tks_edge_runtime.energy import BLOCK_SECONDS, IDLE_SECONDS, Meter
from tks_edge_runtime.presets import PRESETS, least_runs
from tks_edge_runtime.runner import STEADY, WARM_UP_RUNS, WARM_UP_SECONDS, Timed
from tks_edge_runtime.statistics import needed

_WARM_UP_LIMIT = 30.0
_WINDOW_SECONDS = 1.0
_BLOCK_SECONDS = 0.1


def warm_up_plan(seconds: float) -> tuple[float, float]:
    """The most that a warm-up lasts and how long its windows are, in s, before a measurement of `seconds`.

    They are 30 s and 1 s from the standard preset on. A shorter measurement, as in a quick report of many artifacts, is
    never warmed up for longer than it lasts itself, in windows of a sixth of that.
    """
    if seconds >= PRESETS["standard"]:
        return _WARM_UP_LIMIT, _WINDOW_SECONDS
    return seconds, min(_WINDOW_SECONDS, seconds / 6)


def block_seconds(seconds: float, energy: Meter | None) -> float:
    """How long one session runs before the next has its turn, in s, where its runs are shorter than that."""
    return min(_BLOCK_SECONDS if energy is None else BLOCK_SECONDS, seconds / 2)


def idle_seconds(seconds: float) -> float:
    """How long the idle power is measured before a measurement of `seconds`, in s: not longer than that."""
    return min(IDLE_SECONDS, seconds)


def method_text(sessions: Sequence[Timed], seconds: float, energy: Meter | None = None) -> list[str]:
    """Say in sentences how `measure` measured these sessions, for a report.

    Args:
        sessions: what was measured.
        seconds: the time for each, in s.
        energy: the meter that was read; None where there was none.
    """
    energy = energy if energy is not None and energy.sources else None
    sizes = sorted({session.manifest.input.shape[0] for session in sessions})
    engines = sorted({_engine_text(session.describe()) for session in sessions})
    limit, window = warm_up_plan(seconds)
    kind = "Warm-up" if limit == _WARM_UP_LIMIT else "Warm-up, shortened because the measurement is short"
    needs = ", ".join(f"p{p:g} needs {needed(p)}" for p in (90, 95, 99, 99.9))
    return [
        f"Single stream: one batch of {' or '.join(map(str, sizes))} at a time, the next one after the previous "
        "logits were on the host. End to end (e2e) is wall time from the input array on the host to the logits on the "
        "host.",
        f"Compute is the graph alone, in the same runs: {_compute_text(sessions)}.",
        *_steps_texts(sessions),
        f"Engine: {'; '.join(engines)}.",
        f"{kind}: at least {WARM_UP_SECONDS * 1000:.0f} ms and {WARM_UP_RUNS} runs, then until the medians of two "
        f"consecutive windows of {window:g} s differed by less than {STEADY:.0%}, at most {limit:g} s. Loading, "
        "building an engine and the first inference are given apart.",
        f"{_turns_text(len(sessions), block_seconds(seconds, energy))} {_length_text(seconds)}, on real samples in "
        "rotation, Python's garbage collector off. No outlier was removed.",
        "CPU time is that of the whole process, all threads together, per run: the mean, and the least of all blocks.",
        _energy_text(energy, seconds),
        f"A percentile is given where there are enough samples for it (MLPerf LoadGen's early-stopping rule at 99 % "
        f"confidence): {needs}.",
    ]


def _steps_texts(sessions: Sequence[Timed]) -> list[str]:
    """How many timesteps a run of a step graph had."""
    texts = []
    stepped = [session for session in sessions if session.manifest.form == STEP]
    if any(not session.length_varies for session in stepped):
        texts.append(
            "A step graph ran all its timesteps for each inference, from rest, its states staying where it computes."
        )
    if any(session.length_varies for session in stepped):
        texts.append(
            "With early exit a step graph ran from rest until the last sample of its batch might stop, the time of the "
            "rule included. How long a run is depends on its samples, and its latency spreads for that reason alone: "
            "this is no warning. Its expected latency is the median of the runs of each number of steps, weighted by "
            "how many had it; that stands beside the medians of other rows."
        )
    return texts


def _compute_text(sessions: Sequence[Timed]) -> str:
    """By whose clock, and what enqueue and copies are where there are such things."""
    times = [session.times for session in sessions]
    found = (
        "the wall time of the library's call"
        if all(one.enqueue is None for one in times)
        else "the time between two events of the device around it. Enqueue is how long the host took to hand a run over"
    )
    if any(one.copies is not None for one in times):
        found += ". Copies are the inputs to the device and the outputs back"
    return found


def _turns_text(count: int, block: float) -> str:
    if count == 1:
        return "The artifact ran alone."
    return (
        f"The {count} artifacts took turns in one process, in the order A B B A, in blocks of about {block * 1000:.0f} "
        "ms (or one run, where that is longer); the first run of each block was not timed, since it pays for the "
        "caches that the others used."
    )


def _length_text(seconds: float) -> str:
    least = least_runs(seconds)
    return f"Each was timed for about {seconds:g} s" + (f" and {least} runs at least" if least > 1 else "")


def _energy_text(energy: Meter | None, seconds: float) -> str:
    if energy is None:
        return "Energy was not measured: no rail, counter or board that tells it could be read here."
    labels = "; ".join(source.label for source in energy.sources)
    return (
        f"Energy ({labels}) is that of each block, less what idling took in the same time, per run: the mean over all "
        f"blocks of at least {block_seconds(seconds, energy):g} s, which are that long because some sensors are read "
        "every 50 ms only, and its standard deviation from block to block. The idle power is the mean of "
        f"{idle_seconds(seconds):g} s before the warm-up, everything loaded and nothing running."
    )


def _engine_text(description: dict[str, str]) -> str:
    spinning = f", spinning {description['spinning']}" if "spinning" in description else ""
    graph = f", CUDA graph {description['cuda_graph']}" if "cuda_graph" in description else ""
    precision = f" in {description['inference_precision']}" if "inference_precision" in description else ""
    library = f"{description['library']} {description['version']} on {description['device']}{precision}"
    return f"{library}, threads: {description['threads']}{spinning}{graph}"
