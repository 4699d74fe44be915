"""What watching the machine costs: an artifact's latency with and without the sampler and the energy meter.

One process runs one graph; blocks with both threads running and blocks without take turns, A B B A. Both read the tree
given by `--root`: of a board's tree the same files, found in the same way, as on that board, but from a disk, where a
board's current monitors answer in about a millisecond each (the thread that asks waits then, and computes nothing).

On a shared machine wall times vary by more than what is looked for; the CPU time of the process, all threads together,
is given beside them.

    python -m benchmarks.sampling_overhead ARTIFACT [--root tests/runtime/trees/orin-nano] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.document import document, status
from tks_edge_runtime.device import EnergyMeter, Sampler
from tks_edge_runtime.files import write_json
from tks_edge_runtime.measure import rotation
from tks_edge_runtime.session import Session, load

Array = npt.NDArray[Any]
_WARM_UP_SECONDS = 2.0
_ALONE_SECONDS = 10.0


@contextlib.contextmanager
def _watching(root: Path) -> Iterator[None]:
    """What a measurement has running beside it, as it has it."""
    with Sampler(root), EnergyMeter(root):
        yield


@dataclass(frozen=True)
class _Block:
    """Each run's wall time in ms, and the process's CPU time of one run in ms, that of all threads together."""

    wall: list[float]
    cpu: float


def _block(session: Session, batches: Iterator[Array], seconds: float) -> _Block:
    """Run for a time."""
    times: list[float] = []
    cpu, end = time.process_time_ns(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        batch = next(batches)
        start = time.perf_counter_ns()
        session.run_batch(batch)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return _Block(times, (time.process_time_ns() - cpu) / 1e6 / len(times))


def _alone(root: Path) -> float:
    """The share of one core that both threads take while nothing else runs."""
    with _watching(root):
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(_ALONE_SECONDS)
        return (time.process_time() - cpu) / (time.perf_counter() - wall)


def _turns(session: Session, root: Path, rounds: int, seconds: float) -> tuple[list[_Block], list[_Block]]:
    """Every block without and with the threads, in pairs next to each other."""
    batches = itertools.cycle(rotation(session))
    _block(session, batches, _WARM_UP_SECONDS)
    without: list[_Block] = []
    watched: list[_Block] = []
    for turn in range(rounds):
        for watch in (False, True) if turn % 2 == 0 else (True, False):
            with _watching(root) if watch else contextlib.nullcontext():
                _block(session, batches, 0.1)
                (watched if watch else without).append(_block(session, batches, seconds))
    return without, watched


def _row(arguments: argparse.Namespace) -> dict[str, Any]:
    with load(arguments.artifact, "onnxruntime", threads=arguments.threads) as session:
        without, watched = _turns(session, arguments.root, arguments.rounds, arguments.seconds)
    medians = [[float(np.median(block.wall)) for block in blocks] for blocks in (without, watched)]
    cpu = [[block.cpu for block in blocks] for blocks in (without, watched)]
    pooled = [np.concatenate([block.wall for block in blocks]) for blocks in (without, watched)]
    return {
        "artifact": arguments.artifact.name,
        "root": str(arguments.root),
        "rounds": arguments.rounds,
        "runs": [len(times) for times in pooled],
        "median_ms": [float(np.median(times)) for times in pooled],
        "mean_ms": [float(np.mean(times)) for times in pooled],
        "p99_ms": [float(np.percentile(times, 99)) for times in pooled],
        "ratio_of_medians": float(np.median(pooled[1]) / np.median(pooled[0])),
        "ratio_of_medians_by_round": _by_round(*medians),
        "cpu_ms": [float(np.median(times)) for times in cpu],
        "ratio_of_cpu_by_round": _by_round(*cpu),
        "threads_alone_share_of_a_core": _alone(arguments.root),
    }


def _by_round(without: Sequence[float], watched: Sequence[float]) -> dict[str, Any]:
    """The ratio of what was taken in pairs: its median, its quartiles, and the 95 % interval of the median."""
    ratios = np.sort([b / a for a, b in zip(without, watched, strict=True)])
    # Of n sorted values, those n/2 +- 0.98 sqrt(n) from the end: the binomial interval of a median, without its shape.
    reach = 0.98 * math.sqrt(len(ratios))
    low, high = math.floor(len(ratios) / 2 - reach), math.ceil(len(ratios) / 2 + reach)
    return {
        "median": float(np.median(ratios)),
        "interval": [float(ratios[max(low - 1, 0)]), float(ratios[min(high, len(ratios) - 1)])],
        "quartiles": [float(value) for value in np.percentile(ratios, [25, 75])],
    }


def _table(row: dict[str, Any]) -> str:
    lines = ["| | without | with | ratio |", "|---|---|---|---|"]
    for name in ("median_ms", "mean_ms", "p99_ms", "cpu_ms"):
        a, b = row[name]
        lines.append(f"| {name.removesuffix('_ms')} | {a:.4g} ms | {b:.4g} ms | {b / a:.4f} |")
    return "\n".join(
        [
            f"{row['artifact']}, {row['root']}, {row['rounds']} rounds, {row['runs'][0]} and {row['runs'][1]} runs",
            *lines,
            f"ratio of the medians of a round: {_ratio_text(row['ratio_of_medians_by_round'])}",
            f"ratio of the CPU times of a round: {_ratio_text(row['ratio_of_cpu_by_round'])}",
            f"both threads alone: {row['threads_alone_share_of_a_core']:.2%} of one core",
        ]
    )


def _ratio_text(found: dict[str, Any]) -> str:
    (low, high), (first, third) = found["interval"], found["quartiles"]
    return f"{found['median']:.4f} (95 % interval {low:.4f} to {high:.4f}; quartiles {first:.4f} to {third:.4f})"


def _measure(arguments: argparse.Namespace) -> None:
    found = document("sampling_overhead")
    row = _row(arguments)
    found["rows"].append(row)
    print(_table(row))
    if arguments.output is not None:
        write_json(arguments.output, found)


def main() -> int:
    """Measure, print a table, write JSON where asked to; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path, help="an .onnx file written by `tks-edge export`")
    parser.add_argument("--root", type=Path, default=Path("/"), help="the machine that is watched [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="inside one operator [%(default)s]")
    parser.add_argument("--rounds", type=int, default=20, help="pairs of blocks [%(default)s]")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one block [%(default)s]")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
