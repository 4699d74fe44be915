"""Latency of tks-edge's graphs against the ReLU twin, a plain export of the T-loop, eager PyTorch and SpikingJelly.

Every variant runs in a process of its own, and they take turns in one run, in an order that is reversed every round, at
batch 1 on crops of photographs. A figure is a ratio to the ReLU network in ONNX Runtime in fp32: of the least CPU time
of all turns and of the least wall time of all runs, which neighbours on a shared machine disturb least. A variant that
does not give its network's logits is shown as wrong and not measured.

    python -m benchmarks.latency [--quick] [--only int8] [--output bench/latency.json]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.document import check_output, document, numbers, progress, status
from tks_edge_runtime import device
from tks_edge_runtime.errors import CheckError, InputError
from tks_edge_runtime.files import write_json

NETWORKS = "sew_resnet18@32,resnet18@32,sew_resnet18@224"
_INTERRUPTED = 130


def _threads(text: str) -> list[int]:
    """`1,all` as numbers of threads; `all` is every physical core that this process may use."""
    facts = device.facts()
    cores = [facts[key] for key in ("cores_usable", "cores_physical") if facts[key]]
    return numbers(",".join(str(min(cores, default=1)) if part == "all" else part for part in text.split(",")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", help=f"names with the image's size, by commas [{NETWORKS}]")
    parser.add_argument("--timesteps", type=numbers, help="T, by commas [1,2,4,8]")
    parser.add_argument("--threads", type=_threads, help="by commas; all: every physical core [1,all]")
    parser.add_argument("--rounds", type=int, help="turns of every variant [20]")
    parser.add_argument(
        "--only", default="", help="variants whose name, engine or precision contains this; and the twin"
    )
    parser.add_argument(
        "--quick", action="store_true", help="another default: sew_resnet18@32, T=1,4, 1 thread, 5 rounds"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("bench/latency.json"), help="JSON with every run [%(default)s]"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.networks = (arguments.networks or ("sew_resnet18@32" if quick else NETWORKS)).split(",")
    arguments.timesteps = arguments.timesteps or ([1, 4] if quick else [1, 2, 4, 8])
    arguments.threads = arguments.threads or _threads("1" if quick else "1,all")
    arguments.rounds = (5 if quick else 20) if arguments.rounds is None else arguments.rounds
    if arguments.rounds < 1:
        parser.error(f"--rounds is {arguments.rounds}; at least 1 is needed")
    return arguments


def _run(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    """Measure what is asked for; CheckError where a graph of tks-edge is not its network."""
    check_output(arguments.output)
    # Imported here, so that --help and mistakes answer at once; and once the variable is set that ONNX Runtime reads.
    from benchmarks.comparison import Row, compare, make, one_run
    from benchmarks.latency_table import table
    from benchmarks.networks import find
    from benchmarks.variants import TWIN, VARIANTS, Case

    networks = [find(name) for name in arguments.networks]
    only = arguments.only.lower()
    wanted = [v for v in VARIANTS if v is TWIN or only in " ".join((v.name, v.engine, v.precision, v.target)).lower()]
    if arguments.only and wanted == [TWIN]:
        names = ", ".join(dict.fromkeys(f"{v.name} {v.engine} {v.precision}" for v in VARIANTS))
        raise InputError(f"--only {arguments.only}: no variant has that in its name. There are: {names}.")
    for measured in networks:
        with tempfile.TemporaryDirectory(prefix="tks-edge-latency-") as folder:
            progress(f"{measured.name}: calibrating")
            case = Case(measured, Path(folder))
            found["fire_rates"][measured.name] = case.fire_rates
            made = make(case, wanted, arguments.timesteps, progress)
            for threads in arguments.threads:
                rows: list[Row] = []
                for t in arguments.timesteps:
                    taking_part = one_run(made, t, with_twins=t == arguments.timesteps[0])
                    new = compare(case, taking_part, t, threads, arguments.rounds, progress)
                    rows += new
                    found["rows"] += [dataclasses.asdict(row) for row in new]
                    found["states"].append(device.state())
                    # Written each time: whoever stops a long run keeps what it has.
                    write_json(arguments.output, found)
                progress("")
                print(f"\n{measured.name}, {threads} thread{'s' if threads > 1 else ''}\n\n{table(rows)}", flush=True)
    print(f"\n~ does not promise the same spikes. Every run is in {arguments.output}.")
    wrong = [f"{row['variant']} ({row['engine']})" for row in found["rows"] if row["target"] and row["problem"]]
    if wrong:
        raise CheckError(f"not all graphs of tks-edge could be measured: {', '.join(dict.fromkeys(wrong))}; see above.")


def main() -> int:
    """Measure, print the tables, write JSON; the exit status."""
    arguments = _arguments()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Ends the workers and removes the folder, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = document("latency") | {"rounds": arguments.rounds, "fire_rates": {}, "states": [device.state()]}
    try:
        return status(lambda: _run(arguments, found))
    except KeyboardInterrupt:
        kept = f"{arguments.output} has what was complete" if found["rows"] else "nothing was written"
        print(f"\ninterrupted; {kept}", file=sys.stderr)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
