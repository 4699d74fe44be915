"""What a sweep takes beside measuring, and how long a pick takes to answer.

A whole `tks-edge sweep` runs twice as a process: with an empty folder, so that everything is exported first, and again
with what was exported. Its measuring time is what each row was warmed up and timed for, by the report itself.

    python -m benchmarks.sweep RUN --output bench/sweep.json [--timesteps 1-8] [--preset quick]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.document import check_output, document, progress, status
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import read_json, write_json

_PICKS = 5


def _run(*arguments: str) -> float:
    """Run a command of ours and return its wall time in s."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "tks_edge", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"tks-edge {' '.join(arguments)} failed: {done.stderr.strip()}")
    return time.perf_counter() - start


def _swept(name: str, command: list[str], folder: Path) -> dict[str, Any]:
    """Sweep once: the wall time, and of it what was spent measuring, anchors that were measured again included."""
    progress(name)
    seconds = _run(*command)
    turns = [read_json(path) for path in sorted((folder / "turns").glob("*.json"))]
    rows = [row for turn in turns for row in turn["rows"]]
    warm_up = sum(row["warm_up"]["seconds"] for row in rows)
    timed = sum(turn["seconds"] for turn in turns for _ in turn["rows"])
    return {
        "sweep": name,
        "rows": len(read_json(folder / "report.json")["rows"]),
        "turns": len(turns),
        "warm_up_s": warm_up,
        "timed_s": timed,
        "wall_s": seconds,
        "over_measuring": seconds / (warm_up + timed) - 1,
    }


def _measure(arguments: argparse.Namespace) -> None:
    check_output(arguments.output)
    found = document("sweep")
    with tempfile.TemporaryDirectory(prefix="tks-edge-sweep-") as scratch:
        folder = Path(scratch) / "sweep"
        command = ["sweep", str(arguments.run), "--timesteps", arguments.timesteps, "--preset", arguments.preset]
        command += ["--precision", "fp32,int8", "--backend", "onnxruntime,openvino", "--output", str(folder)]
        found["rows"].append(_swept("everything to export", command, folder))
        shutil.rmtree(folder / "turns")
        found["rows"].append(_swept("everything exported", command, folder))
        progress("picking")
        picks = [_run("pick", str(folder), "--max-latency", "1s") for _ in range(_PICKS)]
        starts = [_run("--version") for _ in range(_PICKS)]
        size = (folder / "report.json").stat().st_size
    found["pick"] = {"median_s": statistics.median(picks), "start_s": statistics.median(starts), "report_bytes": size}
    progress("")
    print("| sweep | rows | turns | warm-up, s | timed, s | wall, s | more than measuring |")
    print("|---|---|---|---|---|---|---|")
    for row in found["rows"]:
        numbers = " | ".join(f"{row[name]:.1f}" for name in ("warm_up_s", "timed_s", "wall_s"))
        print(f"| {row['sweep']} | {row['rows']} | {row['turns']} | {numbers} | {row['over_measuring']:.0%} |")
    pick = found["pick"]
    print(
        f"\npick: {pick['median_s']:.2f} s, of which starting takes {pick['start_s']:.2f} s; "
        f"report.json {size / 1e6:.1f} MB"
    )
    write_json(arguments.output, found)


def main() -> int:
    """Sweep, print the table, write JSON; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a trained run, with its ReLU twin beside it")
    parser.add_argument("--timesteps", default="1-8", help="[%(default)s]")
    parser.add_argument("--preset", default="quick", help="[%(default)s]")
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    arguments = parser.parse_args()
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
