"""How a training's time and memory grow with T, and what a second process gains: the trainer itself, on plain digits.

Each variant (T, processes) is trained for an epoch, one thread a process, in processes of its own; variants take turns,
in an order that is reversed every round. Of each the least step of all rounds counts: it is what neighbours on a shared
machine disturb least, and the CPU time of a process less than the time on the wall. The batch stays the same, so two
processes have half of it each. Memory is the largest resident size of the first process, less what it is before the
first step.

    python -m benchmarks.scaling [--model tiny] [--batch-size 64] [--timesteps 1,2,4,8] [--processes 1,2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.document import document, numbers, progress, status
from tks_edge_runtime.errors import CheckError
from tks_edge_runtime.files import write_json

_ROOT = Path(__file__).resolve().parents[1]
_CHILD = "--child"
_WARM_UP = 3  # steps that do not count


class _Clock:
    """Times the steps of a training."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []
        self.before_mib = 0.0
        self._last = (0.0, 0.0)

    def began(self, *_: object) -> None:
        self.before_mib = _peak_mib()
        self._last = (time.perf_counter(), time.process_time())

    def stepped(self, *_: object) -> None:
        now = (time.perf_counter(), time.process_time())
        self.wall_s.append(now[0] - self._last[0])
        self.cpu_s.append(now[1] - self._last[1])
        self._last = now

    def ended_epoch(self, *_: object) -> None: ...

    def noted(self, text: str) -> None: ...

    def warned(self, text: str) -> None: ...


def _train(asked: dict[str, Any]) -> dict[str, Any]:
    """Train for an epoch in this process, which may be one of several."""
    from tks_edge.settings import resolve
    from tks_edge.trainer import train

    settings = resolve({"dataset": "digits", "augment": "none", "epochs": 1, "threads": 1} | asked["settings"])
    clock = _Clock()
    train(settings, Path(asked["output"]), device="cpu", watcher=clock)
    return {
        "wall_s": clock.wall_s[_WARM_UP:],
        "cpu_s": clock.cpu_s[_WARM_UP:],
        "memory_mib": _peak_mib() - clock.before_mib,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _run(settings: dict[str, Any], world: int) -> dict[str, Any]:
    """One training in `world` new processes; what the first of them says.

    Raises:
        CheckError: one of them failed.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    shared = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    if world > 1:  # as torchrun says it
        shared |= {"TORCHELASTIC_RUN_ID": "scaling", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        shared |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0"}
    with tempfile.TemporaryDirectory(prefix="tks-edge-scaling-") as folder:
        asked = json.dumps({"settings": settings, "output": str(Path(folder) / "run")})
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.scaling", _CHILD, asked],
                cwd=_ROOT,
                env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        said = [process.communicate() for process in ranks]
    for process, (_, errors) in zip(ranks, said, strict=True):
        if process.returncode != 0:
            reason = (errors.strip().splitlines() or [f"its process ended with status {process.returncode}"])[-1]
            raise CheckError(f"the training with {settings} in {world} processes fails: {reason}")
    found: dict[str, Any] = json.loads(said[0][0].splitlines()[-1])
    return found


def main() -> int:
    """Measure, print a table, write JSON where asked to; the exit status."""
    if sys.argv[1:2] == [_CHILD]:
        print(json.dumps(_train(json.loads(sys.argv[2]))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="[%(default)s]")
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together [%(default)s]")
    parser.add_argument("--timesteps", type=numbers, default=[1, 2, 4, 8], help="by commas [1,2,4,8]")
    parser.add_argument("--processes", type=numbers, default=[1, 2], help="by commas [1,2]")
    parser.add_argument("--compute", type=json.loads, default={}, help='JSON, such as {"checkpoint": "blocks"}')
    parser.add_argument("--rounds", type=int, default=3, help="[%(default)s]")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    return status(lambda: _measure(arguments))


def _measure(arguments: argparse.Namespace) -> None:
    variants = [(t, world) for t in arguments.timesteps for world in arguments.processes]
    runs: dict[tuple[int, int], list[dict[str, Any]]] = {variant: [] for variant in variants}
    for number in range(arguments.rounds):
        for timesteps, world in variants[:: 1 if number % 2 == 0 else -1]:
            progress(f"round {number + 1} of {arguments.rounds}: T={timesteps}, {world} processes")
            settings = {"model": arguments.model, "batch_size": arguments.batch_size, "timesteps": timesteps}
            runs[timesteps, world].append(_run(settings | {"compute": arguments.compute}, world))
    progress("")
    found = document("scaling")
    found["rows"] = [_row(variant, runs[variant], arguments.batch_size) for variant in variants]
    _print(found["rows"])
    if arguments.output is not None:
        write_json(arguments.output, found)


def _row(variant: tuple[int, int], runs: list[dict[str, Any]], batch_size: int) -> dict[str, Any]:
    wall = min(step for run in runs for step in run["wall_s"])
    return {
        "timesteps": variant[0],
        "processes": variant[1],
        "wall_s": wall,
        "cpu_s": min(step for run in runs for step in run["cpu_s"]),
        "samples_per_s": batch_size / wall,
        "memory_mib": min(run["memory_mib"] for run in runs),
        "runs": runs,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    alone = {row["timesteps"]: row for row in rows if row["processes"] == first["processes"]}
    of = f"to T={first['timesteps']}"
    print(f"| T | processes | CPU a step and process | {of} | to one process | wall | to one process | memory | {of} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        one = alone[row["timesteps"]]
        base = next(other for other in rows if other["processes"] == row["processes"])
        print(
            f"| {row['timesteps']} | {row['processes']} | {row['cpu_s'] * 1e3:.0f} ms | "
            f"{row['cpu_s'] / base['cpu_s']:.2f} | {row['cpu_s'] / one['cpu_s']:.2f} | {row['wall_s'] * 1e3:.0f} ms | "
            f"{row['wall_s'] / one['wall_s']:.2f} | {row['memory_mib']:.0f} MiB | "
            f"{row['memory_mib'] / base['memory_mib']:.2f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
