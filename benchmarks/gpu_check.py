"""What an NVIDIA GPU makes of tks-edge's graphs: every engine that can be used there, right or wrong, and how fast.

Run it on a machine with such a GPU. It exports `sew_resnet18` and its ReLU twin at 32x32 in fp32, fp16 and int8, and
runs them in TensorRT, in ONNX Runtime through its TensorRT and CUDA providers, and in PyTorch, each with and without
CUDA graphs, with ONNX Runtime on the CPU beside them. Each engine first gives the logits of the golden input; what is
right is measured, for each T in one run in which all precisions and the twin take turns. Ratios are to the twin in fp32
on the same engine. What is not there is listed with the reason.

    python -m benchmarks.gpu_check [--quick] [--artifacts FOLDER] [--output bench/gpu-check.json]

    --backends onnxruntime:cuda,torch:cuda    these alone, as BACKEND:DEVICE
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.document import check_output, document, numbers, progress, status
from tks_edge_runtime import machine
from tks_edge_runtime.artifact import GENERIC, Artifact, find_artifacts
from tks_edge_runtime.backends import BACKENDS, Place, find_device, foreign_target
from tks_edge_runtime.errors import CheckError, InputError, MissingError
from tks_edge_runtime.files import write_json

if TYPE_CHECKING:
    from benchmarks.gpu_check_run import Job
    from benchmarks.gpu_networks import Material

TORCH = "torch"
_NVIDIA_DEVICES = ("cuda", "tensorrt")
_ANCHOR: Place = ("onnxruntime", "cpu")
_TARGETS = {("tensorrt", "cuda"): "tensorrt", ("onnxruntime", "tensorrt"): "tensorrt"}
"""Which target's graphs an engine gets; the generic ones where it is not named here."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=Path, help="a folder that `tks-edge export` wrote; else it exports its own")
    parser.add_argument("--network", help="which network it exports [sew_resnet18@32]")
    parser.add_argument("--timesteps", type=numbers, help="T, by commas [1,2,4,8; with --quick 1,4]")
    parser.add_argument("--backends", help="BACKEND:DEVICE, by commas [all that can be used, and onnxruntime:cpu]")
    parser.add_argument("--seconds", type=float, help="how long each row is timed [3; with --quick 1]")
    parser.add_argument("--quick", action="store_true", help="other defaults, for a first look")
    parser.add_argument(
        "--output", type=Path, default=Path("bench/gpu-check.json"), help="JSON with every row [%(default)s]"
    )
    arguments = parser.parse_args()
    if arguments.artifacts is not None and (arguments.network or arguments.timesteps):
        parser.error("--network and --timesteps are of its own exports; with --artifacts, the folder's files are run")
    arguments.network = arguments.network or "sew_resnet18@32"
    arguments.timesteps = arguments.timesteps or ([1, 4] if arguments.quick else [1, 2, 4, 8])
    arguments.seconds = (1.0 if arguments.quick else 3.0) if arguments.seconds is None else arguments.seconds
    if not arguments.seconds > 0:
        parser.error(f"--seconds is {arguments.seconds:g}; more than 0 is needed")
    return arguments


def _asked(text: str) -> list[Place]:
    """`onnxruntime:cuda,torch:cpu` as places; InputError where there is no such backend or device."""
    from benchmarks import torch_engine

    places: list[Place] = []
    for part in text.split(","):
        name, _, device = part.partition(":")
        if name != TORCH:
            places.append((name, find_device(name, device or None)))
        elif device in torch_engine.DEVICES:
            places.append((TORCH, device))
        else:
            raise InputError(f"--backends {part}: PyTorch runs as {TORCH}:cuda or {TORCH}:cpu.")
    return places


def _on_gpus() -> list[Place]:
    """Every way to compute on an NVIDIA GPU; MissingError where this machine has none."""
    if machine.nvidia_driver() is None:
        raise MissingError(
            "this machine has no NVIDIA GPU (no driver is loaded), so there is nothing to check here; what its CPU "
            "makes of the graphs is shown by: python -m benchmarks.latency --quick"
        )
    found = [(name, device) for name, backend in BACKENDS.items() for device in backend.devices]
    return [*(place for place in found if place[1] in _NVIDIA_DEVICES), (TORCH, "cuda")]


def _lack(place: Place) -> str | None:
    """Why an engine cannot be used here; None where it can."""
    name, device = place
    try:
        if name == TORCH:
            from benchmarks import torch_engine

            torch_engine.require(device)
        else:
            BACKENDS[name].require(device)
    except MissingError as error:
        return str(error)
    return None


def _target(place: Place) -> str:
    return _TARGETS.get(place, GENERIC)


def _cuda_graphs(place: Place) -> tuple[bool, ...]:
    name, device = place
    has_them = device == "cuda" if name == TORCH else device in BACKENDS[name].cuda_graph_devices
    return (False, True) if has_them else (False,)


def _fitting(place: Place, material: Material) -> list[Artifact]:
    """What an engine runs: the exports for its target, or of a folder's artifacts all that are for no other engine."""
    if not material.network:
        if place[0] == TORCH:
            return []
        return [a for a in material.artifacts if foreign_target(a.manifest.target, *place) is None]
    fitting = [a for a in material.artifacts if a.manifest.target == _target(place)]
    return [a for a in fitting if place[0] != TORCH or a.manifest.precision.name == "fp32"]


def _jobs(place: Place, material: Material, seconds: float) -> list[Job]:
    """One run for each T of an engine, with the twins in each."""
    from benchmarks.gpu_check_run import Job

    fitting = _fitting(place, material)
    twins = [artifact for artifact in fitting if artifact.manifest.is_twin]
    spiking = [artifact for artifact in fitting if not artifact.manifest.is_twin]
    runs = [[a for a in spiking if a.manifest.timesteps == t] for t in sorted({a.manifest.timesteps for a in spiking})]
    return [
        Job(
            *place,
            _cuda_graphs(place),
            tuple(str(artifact.path) for artifact in (*twins, *taking_part)),
            seconds,
            material.network,
            material.weights,
        )
        for taking_part in (runs or ([[]] if twins else []))
    ]


def _gpus() -> list[str]:
    """The GPUs by name and memory, as the driver's own program lists them; none where it is not there."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip().splitlines()
    return []


def _run(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    check_output(arguments.output)
    wanted = _asked(arguments.backends) if arguments.backends else [*_on_gpus(), _ANCHOR]
    found["missing"] = {":".join(place): lack for place in wanted if (lack := _lack(place)) is not None}
    usable = [place for place in wanted if ":".join(place) not in found["missing"]]
    if not any(place[1] != "cpu" for place in usable) and not arguments.backends:
        raise MissingError(f"no engine can use the GPU of this machine: {' '.join(found['missing'].values())}")
    if not usable:
        raise MissingError(f"nothing of {arguments.backends} can be used: {' '.join(found['missing'].values())}")
    with tempfile.TemporaryDirectory(prefix="tks-edge-gpu-check-") as folder:
        material = _material(arguments, usable, Path(folder))
        _measure(arguments, found, usable, material)


def _material(arguments: argparse.Namespace, usable: Sequence[Place], folder: Path) -> Material:
    from benchmarks.gpu_networks import Material, export_all
    from benchmarks.networks import find

    if arguments.artifacts is not None:
        return Material(tuple(find_artifacts(arguments.artifacts)))
    targets = list(dict.fromkeys(_target(place) for place in usable))
    return export_all(find(arguments.network), folder, arguments.timesteps, targets, progress)


def _measure(arguments: argparse.Namespace, found: dict[str, Any], usable: Sequence[Place], material: Material) -> None:
    from benchmarks.gpu_check_run import WRONG, Row, run_apart
    from benchmarks.gpu_check_table import table

    rows: list[Row] = []
    for place in usable:
        jobs = _jobs(place, material, arguments.seconds)
        if not jobs:
            found["missing"][":".join(place)] = (
                "none of these artifacts is for it (PyTorch runs only what is exported here)"
            )
        for number, job in enumerate(jobs, start=1):
            progress(f"{':'.join(place)}: run {number} of {len(jobs)}")
            rows += run_apart(job)
            found["rows"] = [dataclasses.asdict(row) for row in rows]
            # Written each time: whoever stops a long run keeps what it has.
            write_json(arguments.output, found)
    progress("")
    write_json(arguments.output, found)
    print(table(rows))
    for name, reason in found["missing"].items():
        print(f"\nnot run: {name}: {reason}")
    print(f"\nEvery row is in {arguments.output}.")
    wrong = [f"{row.file} in {row.backend}:{row.device}" for row in rows if row.status == WRONG]
    if wrong:
        raise CheckError(f"the logits of the golden input are wrong: {', '.join(dict.fromkeys(wrong))}; see above.")


def main() -> int:
    """Check, print the table, write JSON; the exit status."""
    arguments = _arguments()
    found = document("gpu_check") | {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "driver": machine.nvidia_driver(),
        "gpus": _gpus(),
        "seconds": arguments.seconds,
        "missing": {},
    }
    return status(lambda: _run(arguments, found))


if __name__ == "__main__":
    sys.exit(main())
