"""Size of the graphs by precision and T, and as a share of the one in fp32 at the same T.

python -m benchmarks.artifact_size [--networks sew_resnet18@32,sew_resnet18@224] [--timesteps 1,2,4,8]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.document import document, numbers, status
from tks_edge_runtime.files import write_json

_GRAPHS = (
    ("fp32", "generic", False),
    ("fp16", "generic", False),
    ("int8", "generic", False),
    ("int8", "generic", True),
    ("int8", "onnxruntime-cpu", False),
)
"""Precision, target, and whether the first layer and the classifier are quantized too. The first is the yardstick."""


def _rows(network: str, timesteps: list[int]) -> list[dict[str, Any]]:
    import onnx_ir as ir
    import torch

    from benchmarks.networks import build, calibrate, find, on_grid, photographs
    from tks_edge_export import Compiler, Options

    measured = find(network)
    image = photographs(measured.size, 1)
    compiler = Compiler(on_grid(calibrate(build(measured), image)), torch.from_numpy(image))
    rows = []
    for precision, target, ends in _GRAPHS:
        for t in timesteps:
            options = Options(t, precision=precision, target=target, quantize_ends=ends)
            size = len(ir.to_proto(compiler.compile(options, [image]).model).SerializeToString())
            row = {
                "network": network,
                "precision": precision,
                "target": target,
                "quantize_ends": ends,
                "timesteps": t,
                "bytes": size,
            }
            rows.append(row)
    return rows


def _table(rows: list[dict[str, Any]], timesteps: list[int]) -> str:
    yardstick = {row["timesteps"]: row["bytes"] for row in rows[: len(timesteps)]}
    titles = " | ".join(f"T={t}" for t in timesteps)
    lines = [f"| network | graph | {titles} |", f"|{'---|' * (2 + len(timesteps))}"]
    for start in range(0, len(rows), len(timesteps)):
        same = rows[start : start + len(timesteps)]
        ends = ", first layer and classifier too" if same[0]["quantize_ends"] else ""
        cells = [f"{row['bytes'] / 1e6:.2f} MB, {row['bytes'] / yardstick[row['timesteps']]:.3f}" for row in same]
        name = f"{same[0]['precision']}, {same[0]['target']}{ends}"
        lines.append(f"| {same[0]['network']} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _measure(arguments: argparse.Namespace) -> None:
    found = document("artifact_size")
    for network in arguments.networks.split(","):
        rows = _rows(network, arguments.timesteps)
        print(f"{_table(rows, arguments.timesteps)}\n", flush=True)
        found["rows"] += rows
    if arguments.output is not None:
        write_json(arguments.output, found)


def main() -> int:
    """Export, print a table, write JSON where asked to; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="sew_resnet18@32,sew_resnet18@224", help="by commas [%(default)s]")
    parser.add_argument("--timesteps", type=numbers, default="1,2,4,8", help="T, by commas [%(default)s]")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
