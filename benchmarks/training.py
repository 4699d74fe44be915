"""A training step against SpikingJelly's: throughput, and memory against T.

The same network with the same weights, batches, loss (cross entropy of the mean output) and AdamW in every variant; a
step is forward, loss, backward and update. One process each; the processes take turns, one run for each T. Before that
the first step of all is compared: in float64 the spikes of every layer must be SpikingJelly's, and in float32 those of
each kernel the loop's. Memory is what a step needs beyond what lies there between steps (weights, the optimiser's
state, libraries): the resident peak minus the resident size before, in a process of its own whose C library gives back
what is freed.

    python -m benchmarks.training [--networks tiny:64,sew_resnet18:8] [--timesteps 1,2,4,8] [--output FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.document import check_output, document, numbers, progress, status
from benchmarks.interleave import Timing, Worker, WorkerError, take_turns, workers
from benchmarks.training_memory import plot_memory
from benchmarks.training_worker import LOOP, SPIKINGJELLY, TrainingJob
from tks_edge_models import MODELS
from tks_edge_runtime.errors import CheckError, unknown
from tks_edge_runtime.files import write_json

_GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""With these, glibc hands what is freed back to the system, so the resident size is what tensors take."""
_MEMORY_STEPS = 2
_CLOSE = 1e-12
"""The largest relative difference of the first losses in float64; sums are rounded in another order."""


@dataclass(frozen=True)
class Variant:
    """What is compared: a name, and what it changes in a `TrainingJob`."""

    name: str
    kernel: str
    compact: bool = False
    channels_last: bool = False

    def job(self, base: TrainingJob) -> TrainingJob:
        """The job of this variant."""
        return dataclasses.replace(base, kernel=self.kernel, compact=self.compact, channels_last=self.channels_last)


BASELINE = Variant("SpikingJelly", SPIKINGJELLY)
PLAIN = Variant("loop over steps", LOOP)
VARIANTS = (
    BASELINE,
    Variant("SpikingJelly, channels last", SPIKINGJELLY, channels_last=True),
    PLAIN,
    Variant("torch", "torch"),
    Variant("compiled", "compiled"),
    Variant("compiled, compact", "compiled", compact=True),
    Variant("compiled, channels last", "compiled", channels_last=True),
    Variant("compiled, compact, channels last", "compiled", compact=True, channels_last=True),
)


@dataclass(frozen=True)
class Row:
    """One variant at one T.

    Attributes:
        first_loss: of the first step, in float32.
        wall_ms: of the fastest step; `cpu_ms` is the process's CPU time of a step, the least of the turns.
        throughput: SpikingJelly's `wall_ms` over this one's; `cpu_throughput` likewise.
        throughput_by_round: the quartiles of that ratio, of each round by itself.
        memory_mib: what a step needs; `memory_ratio` is to SpikingJelly's.
        problem: why it was not measured.
    """

    network: str
    batch: int
    threads: int
    timesteps: int
    variant: str
    problem: str | None = None
    first_loss: float | None = None
    wall_ms: float | None = None
    cpu_ms: float | None = None
    throughput: float | None = None
    cpu_throughput: float | None = None
    throughput_by_round: tuple[float, float] | None = None
    memory_mib: float | None = None
    memory_ratio: float | None = None
    timing: Timing = dataclasses.field(default_factory=Timing)


def compare(base: TrainingJob, rounds: int, runs: int, on_progress: Callable[[str], None]) -> list[Row]:
    """Check, time and weigh every variant of one network at one T.

    Raises:
        CheckError: SpikingJelly's network is not ours, or could not be measured.
    """
    name = f"{base.network}, T={base.timesteps}"
    on_progress(f"{name}: the first step in float64")
    _check_same(base)
    problems: dict[Variant, str] = {}
    with workers({variant: variant.job(base) for variant in VARIANTS}) as players:
        on_progress(f"{name}: the first step in float32")
        firsts = _firsts(players, problems)
        able = {variant: worker for variant, worker in players.items() if variant not in problems}
        timings, dropped = take_turns(
            able, rounds, lambda done: on_progress(f"{name}: round {done} of {rounds}"), runs=runs
        )
    problems |= dropped
    memory: dict[Variant, float] = {}
    for variant in VARIANTS:
        if variant not in problems:
            on_progress(f"{name}: memory of {variant.name}")
            memory[variant] = _memory(variant.job(base))
    if BASELINE in problems:
        raise CheckError(f"SpikingJelly cannot be measured: {problems[BASELINE]}.")
    return [_row(base, variant, problems, firsts, timings, memory) for variant in VARIANTS]


def _check_same(base: TrainingJob) -> None:
    """Refuse to compare what is not the same: in float64 no spike lies within rounding of its threshold."""
    jobs = {variant: dataclasses.replace(variant.job(base), double=True) for variant in (BASELINE, PLAIN)}
    with workers(jobs) as players:
        theirs, ours = (_first(worker) for worker in players.values())
    for first in (theirs, ours):
        if "problem" in first:
            raise CheckError(f"the first step cannot be compared: {first['problem']}.")
    if theirs["spikes"] != ours["spikes"] or abs(theirs["loss"] - ours["loss"]) > _CLOSE * abs(ours["loss"]):
        raise CheckError(
            f"{base.network} is another network in SpikingJelly: on the first step in float64 the loss is "
            f"{theirs['loss']!r} there and {ours['loss']!r} here."
        )


def _firsts(players: Mapping[Variant, Worker], problems: dict[Variant, str]) -> dict[Variant, dict[str, Any]]:
    """The first step of every variant that can be opened; the others, and those that do it otherwise, are problems."""
    found = {variant: _first(worker) for variant, worker in players.items()}
    for variant, first in found.items():
        # Another memory format is another convolution, which rounds otherwise.
        same_arithmetic = variant.kernel != SPIKINGJELLY and not variant.channels_last
        if "problem" in first:
            problems[variant] = first["problem"]
        elif same_arithmetic and first != found[PLAIN]:
            problems[variant] = "its first step is not that of the loop"
    return found


def _first(worker: Worker) -> dict[str, Any]:
    try:
        worker.opened()
        return worker.ask(first=True)
    except WorkerError as error:
        return {"problem": str(error)}


def _memory(job: TrainingJob) -> float:
    with Worker(job, _GIVES_BACK) as worker:
        worker.opened()
        found = worker.ask(memory=_MEMORY_STEPS)
    return float(found["peak_mib"] - found["baseline_mib"])


def _row(
    base: TrainingJob,
    variant: Variant,
    problems: Mapping[Variant, str],
    firsts: Mapping[Variant, dict[str, Any]],
    timings: Mapping[Variant, Timing],
    memory: Mapping[Variant, float],
) -> Row:
    row = Row(base.network, base.batch, base.threads, base.timesteps, variant.name, problems.get(variant))
    if variant in problems:
        return row
    timing, theirs = timings[variant], timings[BASELINE]
    by_round = np.divide(_by_round(theirs), _by_round(timing))
    low, high = np.percentile(by_round, [25, 75])
    return dataclasses.replace(
        row,
        first_loss=firsts[variant]["loss"],
        wall_ms=min(timing.wall_ms),
        cpu_ms=min(timing.cpu_ms),
        throughput=min(theirs.wall_ms) / min(timing.wall_ms),
        cpu_throughput=min(theirs.cpu_ms) / min(timing.cpu_ms),
        throughput_by_round=(float(low), float(high)),
        memory_mib=memory[variant],
        memory_ratio=memory[variant] / memory[BASELINE],
        timing=timing,
    )


def _by_round(timing: Timing) -> Any:
    """The fastest step of each round."""
    return np.asarray(timing.wall_ms).reshape(len(timing.cpu_ms), -1).min(axis=1)


def table(rows: list[Row]) -> str:
    """The rows of one network at one T, as Markdown."""
    lines = [
        "| T | variant | step, wall | throughput (quartiles of the rounds) | by CPU time | memory | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.throughput is None or row.throughput_by_round is None:
            lines.append(f"| {row.timesteps} | {row.variant} | {row.problem} | | | | |")
            continue
        low, high = row.throughput_by_round
        lines.append(
            f"| {row.timesteps} | {row.variant} | {row.wall_ms:.0f} ms "
            f"| {row.throughput:.2f} ({low:.2f} to {high:.2f}) | {row.cpu_throughput:.2f} "
            f"| {row.memory_mib:.0f} MiB | {row.memory_ratio:.2f} |"
        )
    return "\n".join(lines)


def _networks(text: str) -> list[tuple[str, int]]:
    """`tiny:64,sew_resnet18:8` as names and batch sizes."""
    found = []
    for part in text.split(","):
        name, _, batch = part.partition(":")
        if not batch.isdecimal() or int(batch) < 1:
            raise argparse.ArgumentTypeError(f"{part!r} is no network with its batch size, such as tiny:64")
        if name not in MODELS:
            raise argparse.ArgumentTypeError(str(unknown("network", name, MODELS)))
        found.append((name, int(batch)))
    return found


def _measure(arguments: argparse.Namespace) -> int:
    for path in (arguments.output, arguments.plot):
        if path is not None:
            check_output(path)
    found = document("training")
    rows: list[Row] = []
    for network, batch in arguments.networks:
        for timesteps in arguments.timesteps:
            base = TrainingJob(
                kernel=LOOP,
                network=network,
                batch=batch,
                timesteps=timesteps,
                frames=arguments.input == "frames",
                surrogate=arguments.surrogate,
                threads=arguments.threads,
            )
            measured = compare(base, arguments.rounds, arguments.runs, progress)
            progress("")
            print(f"\n`{network}`, batch {batch}\n\n{table(measured)}", flush=True)
            rows += measured
            found["rows"] = [asdict(row) for row in rows]
            if arguments.output is not None:
                write_json(arguments.output, found)
    if arguments.plot is not None:
        plot_memory(found["rows"], arguments.plot)
    return 1 if any(row.problem for row in rows) else 0


def main() -> int:
    """Measure, print tables, write JSON and a plot where asked to; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=_networks, default="tiny:64,sew_resnet18:8", help="with batch sizes [%(default)s]"
    )
    parser.add_argument("--timesteps", type=numbers, default="1,2,4,8", help="T, by commas [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch [%(default)s]")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each variant [%(default)s]")
    parser.add_argument("--runs", type=int, default=2, help="steps in a turn [%(default)s]")
    parser.add_argument("--input", choices=("image", "frames"), default="image", help="one image, or T [%(default)s]")
    parser.add_argument("--surrogate", choices=("quadratic", "atan", "sigmoid"), default="quadratic")
    parser.add_argument("--plot", type=Path, help="memory against T, PNG")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
