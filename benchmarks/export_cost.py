"""Time and peak memory of an export, in a process of its own that does nothing else.

It is the one call of the library: the network is captured, lowered, compared with itself spike by spike on one image,
and written. What importing torch and the exporter takes stands beside it. The peak is that of the whole process, from
its start.

    python -m benchmarks.export_cost [--network sew_resnet34@224] [--timesteps 4] [--precisions fp32,fp16,int8]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.document import document, status
from tks_edge_runtime.files import write_json

_ROOT = Path(__file__).resolve().parents[1]
_CHILD = "--child"


def _export(network: str, timesteps: int, precision: str) -> dict[str, Any]:
    """Export once, in this process; times in seconds, memory in MiB."""
    start = time.perf_counter()
    import torch

    import tks_edge_export

    imported, at_import = time.perf_counter() - start, _peak_mib()
    from benchmarks.networks import build, calibrate, find, on_grid, photographs

    measured = find(network)
    image = photographs(measured.size, 1)
    module = on_grid(calibrate(build(measured), image))
    with tempfile.TemporaryDirectory(prefix="tks-edge-export-") as folder:
        start = time.perf_counter()
        exported = tks_edge_export.export(
            module, torch.from_numpy(image), timesteps, output=folder, precision=precision
        )
        seconds = time.perf_counter() - start
        size = exported.artifact.path.stat().st_size
    return {
        "network": network,
        "timesteps": timesteps,
        "precision": precision,
        "import_s": imported,
        "import_peak_mib": at_import,
        "export_s": seconds,
        "export_peak_mib": _peak_mib(),
        "artifact_bytes": size,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measured(network: str, timesteps: int, precision: str) -> dict[str, Any]:
    """Export in a new process. This one imports nothing large: a process counts its parent's peak as its own."""
    # Threads that wait actively for each other would count as the export's time on a shared machine.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "benchmarks.export_cost", _CHILD, json.dumps([network, timesteps, precision])]
    result = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or [f"its process ended with status {result.returncode}"])[-1]
        return {"network": network, "timesteps": timesteps, "precision": precision, "problem": reason}
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def _line(row: dict[str, Any]) -> str:
    name = f"| {row['network']} | {row['timesteps']} | {row['precision']} |"
    if "problem" in row:
        return f"{name} fails: {row['problem']} |"
    return (
        f"{name} {row['export_s']:.1f} s | {row['export_peak_mib'] / 1024:.2f} GiB | {row['import_s']:.1f} s "
        f"| {row['import_peak_mib'] / 1024:.2f} GiB | {row['artifact_bytes'] / 1e6:.1f} MB |"
    )


def main() -> int:
    """Measure, print a table, write JSON where asked to; the exit status."""
    if sys.argv[1:2] == [_CHILD]:
        print(json.dumps(_export(*json.loads(sys.argv[2]))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--network", default="sew_resnet34@224", help="a network of the latency benchmark [%(default)s]"
    )
    parser.add_argument("--timesteps", type=int, default=4, help="T [%(default)s]")
    parser.add_argument("--precisions", default="fp32,fp16,int8", help="by commas [%(default)s]")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    return status(lambda: _measure(arguments))


def _measure(arguments: argparse.Namespace) -> int:
    print("| network | T | precision | export | peak memory | import before it | peak memory then | artifact |")
    print("|---|---|---|---|---|---|---|---|")
    found = document("export_cost")
    rows = found["rows"]
    for precision in arguments.precisions.split(","):
        rows.append(_measured(arguments.network, arguments.timesteps, precision))
        print(_line(rows[-1]), flush=True)
    if arguments.output is not None:
        write_json(arguments.output, found)
    return 1 if any("problem" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
