"""What watching the machine costs: an artifact's latency with and without the sampler and the energy meter.

One process runs one graph; blocks with both threads running and blocks without take turns, A B B A. Both read the tree
given by `--root`: of a board's tree the same files, found in the same way, as on that board, but from a disk, where a
board's current monitors answer in about a millisecond each (the thread that asks waits then, and computes nothing).

    python -m benchmarks.sampling_overhead ARTIFACT [--root tests/runtime/trees/orin-nano] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator
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


def _block(session: Session, batches: Iterator[Array], seconds: float) -> list[float]:
    """Run for a time; each run's wall time in ms."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        batch = next(batches)
        start = time.perf_counter_ns()
        session.run_batch(batch)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def _alone(root: Path) -> float:
    """The share of one core that both threads take while nothing else runs."""
    with _watching(root):
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(_ALONE_SECONDS)
        return (time.process_time() - cpu) / (time.perf_counter() - wall)


def _turns(session: Session, root: Path, rounds: int, seconds: float) -> tuple[list[list[float]], list[list[float]]]:
    """The times of every block without and with the threads, in pairs next to each other."""
    batches = itertools.cycle(rotation(session))
    _block(session, batches, _WARM_UP_SECONDS)
    without: list[list[float]] = []
    watched: list[list[float]] = []
    for turn in range(rounds):
        for watch in (False, True) if turn % 2 == 0 else (True, False):
            with _watching(root) if watch else contextlib.nullcontext():
                _block(session, batches, 0.1)
                (watched if watch else without).append(_block(session, batches, seconds))
    return without, watched


def _row(arguments: argparse.Namespace) -> dict[str, Any]:
    with load(arguments.artifact, "onnxruntime", threads=arguments.threads) as session:
        without, watched = _turns(session, arguments.root, arguments.rounds, arguments.seconds)
    medians = [float(np.median(block)) for block in without], [float(np.median(block)) for block in watched]
    ratios = [b / a for a, b in zip(*medians, strict=True)]
    pooled = [np.concatenate(blocks) for blocks in (without, watched)]
    return {
        "artifact": arguments.artifact.name,
        "root": str(arguments.root),
        "rounds": arguments.rounds,
        "runs": [len(times) for times in pooled],
        "median_ms": [float(np.median(times)) for times in pooled],
        "mean_ms": [float(np.mean(times)) for times in pooled],
        "p99_ms": [float(np.percentile(times, 99)) for times in pooled],
        "ratio_of_medians": float(np.median(pooled[1]) / np.median(pooled[0])),
        "ratio_of_medians_by_round": {
            "median": float(np.median(ratios)),
            "quartiles": [float(value) for value in np.percentile(ratios, [25, 75])],
        },
        "threads_alone_share_of_a_core": _alone(arguments.root),
    }


def _table(row: dict[str, Any]) -> str:
    by_round = row["ratio_of_medians_by_round"]
    low, high = by_round["quartiles"]
    lines = ["| | without | with | ratio |", "|---|---|---|---|"]
    for name in ("median_ms", "mean_ms", "p99_ms"):
        a, b = row[name]
        lines.append(f"| {name.removesuffix('_ms')} | {a:.4g} ms | {b:.4g} ms | {b / a:.4f} |")
    return "\n".join(
        [
            f"{row['artifact']}, {row['root']}, {row['rounds']} rounds, {row['runs'][0]} and {row['runs'][1]} runs",
            *lines,
            f"ratio of the medians of a round: {by_round['median']:.4f} (quartiles {low:.4f} to {high:.4f})",
            f"both threads alone: {row['threads_alone_share_of_a_core']:.2%} of one core",
        ]
    )


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
