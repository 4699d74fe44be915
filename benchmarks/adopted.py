"""Networks of other libraries, before and after: their own code, their own plain ONNX export, and ours.

Each network of `elsewhere_networks` runs T timesteps on one sample, one thread. "Their code" is the library's own, in
PyTorch without gradients. "Their ONNX" is `torch.onnx.export(dynamo=True)` of the same module in ONNX Runtime, timed
only where it gives the logits of their code; else the state was lost. "Ours" is `tks_edge.adopt` and a static graph at
T, verified spike by spike.

All variants of a network take turns in one run; the table gives each one's least CPU time of a turn, and how many times
faster ours is.

    python -m benchmarks.adopted [--timesteps 4] [--rounds 20] [--output bench/adopted.json]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.adopted_worker import Job
from benchmarks.document import document, progress, status
from benchmarks.elsewhere_networks import CASES, Case, logits
from benchmarks.interleave import Worker, WorkerError, take_turns, workers
from tks_edge_export import adopt
from tks_edge_runtime.files import write_json

if TYPE_CHECKING:
    from torch import Tensor

    from tks_edge_models import Network

THEIRS, THEIR_ONNX, OURS, OURS_INT8 = "their code", "their ONNX", "ours", "ours, int8"
_CLOSE = 1e-4
"""Relative to the largest logit: what rounding makes of them; a lost state makes far more."""
_WRONG = "wrong: it loses the state"


@dataclass(frozen=True)
class Prepared:
    """A network's variants, or why one cannot be."""

    jobs: dict[str, Job]
    problems: dict[str, str]


def prepare(name: str, case: Case, timesteps: int, folder: Path, libraries: str) -> Prepared:
    """Write the graphs of a network, theirs and ours."""
    frames = case.frames(timesteps, 1)
    example = folder / "example.npy"
    np.save(folder / "frames.npy", frames.numpy())
    np.save(example, case.example(frames).numpy())
    job = functools.partial(Job, case=name, timesteps=timesteps, libraries=libraries)
    jobs, problems = {THEIRS: job("eager", inputs=str(folder / "frames.npy"))}, {}
    network = adopt(case.network(timesteps), case.example(case.frames(timesteps, 2)))
    for variant, precision in ((OURS, "fp32"), (OURS_INT8, "int8")):
        made = _ours(network, frames, precision, folder, still=case.axes in ("loop", "held"))
        if isinstance(made, str):
            problems[variant] = made
        else:
            jobs[variant] = job("onnx", inputs=str(folder / f"{precision}.npy"), graph=str(made))
    plain = folder / "plain.onnx"
    if (problem := _theirs(case, timesteps, frames, plain)) is None:
        jobs[THEIR_ONNX] = job("onnx", inputs=str(example), graph=str(plain))
    else:
        problems[THEIR_ONNX] = problem
    return Prepared(jobs, problems)


def _ours(network: Network, frames: Tensor, precision: str, folder: Path, *, still: bool) -> Path | str:
    """A graph of ours and beside it what it is fed, or why there is none."""
    from tks_edge_export import ExportError, export

    x = frames[0] if still else frames.transpose(0, 1)
    np.save(folder / f"{precision}.npy", x.numpy())
    try:
        made = export(
            network,
            x,
            len(frames),
            output=folder,
            name=precision,
            precision=precision,
            target="onnxruntime-cpu",
            frames=not still,
            quantize_ends=precision == "int8",
        )
    except ExportError as error:
        return str(error)
    return made.artifact.path


def _theirs(case: Case, timesteps: int, frames: Tensor, path: Path) -> str | None:
    """Write the library's own plain export; why it is not timed, or None where it is right."""
    wanted = logits(case, case.network(timesteps), frames)
    try:
        _plain_export(case.network(timesteps), case.example(frames), path)
        right = _is_right(path, case, frames, wanted)
    except Exception as error:
        return f"fails: {type(error).__name__}"
    if not right:
        return _WRONG
    return "right, one timestep a call" if case.axes == "B" else None


def _plain_export(module: Any, example: Any, path: Path) -> None:
    """What a user of the library does to get an ONNX file."""
    import torch

    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        program.save(str(path))


def _is_right(path: Path, case: Case, frames: Any, wanted: Any) -> bool:
    """Whether the file gives the logits of the library's own code, driven as that is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    if case.axes == "B":
        results = [session.run(None, {name: frame.numpy()})[0] for frame in frames]
        got = np.mean(results, axis=0)
    else:
        got = case.readout(session.run(None, {name: case.example(frames).contiguous().numpy()})[0], len(frames))
    scale = max(1.0, float(np.abs(wanted.numpy()).max()))
    return bool(np.abs(got - wanted.numpy()).max() <= _CLOSE * scale)


def measure(name: str, prepared: Prepared, rounds: int) -> dict[str, Any]:
    """Let the variants of a network take turns; the row of the table."""
    with workers(prepared.jobs) as players:
        problems = dict(prepared.problems)
        problems |= {
            variant: reason for variant, worker in players.items() if (reason := _not_open(worker)) is not None
        }
        ready = {variant: worker for variant, worker in players.items() if variant not in problems}
        timings, failed = take_turns(ready, rounds)
    times = {variant: min(timing.cpu_ms) for variant, timing in timings.items()}
    return {"network": name, "cpu_ms": times, "problems": problems | failed}


def _not_open(worker: Worker) -> str | None:
    try:
        worker.opened()
    except WorkerError as error:
        return str(error)
    return None


def _table(rows: list[dict[str, Any]], timesteps: int) -> str:
    lines = [
        f"| network, T={timesteps} | {THEIRS} | {THEIR_ONNX} | {OURS} | to their code | {OURS_INT8} | to their code |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        times, problems = row["cpu_ms"], row["problems"]

        def cell(variant: str, times: dict[str, float] = times, problems: dict[str, str] = problems) -> str:
            return f"{times[variant]:.2f} ms" if variant in times else problems.get(variant, "")

        def ratio(variant: str, times: dict[str, float] = times) -> str:
            return f"{times[THEIRS] / times[variant]:.1f}" if variant in times and THEIRS in times else ""

        cells = [cell(THEIRS), cell(THEIR_ONNX), cell(OURS), ratio(OURS), cell(OURS_INT8), ratio(OURS_INT8)]
        lines.append(f"| {row['network']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _measure(arguments: argparse.Namespace) -> None:
    from tests.elsewhere.environment import install

    libraries = str(install())
    sys.path.append(libraries)
    found = document("adopted")
    for name, case in CASES.items():
        if arguments.only.lower() not in name.lower():
            continue
        progress(f"{name}: preparing")
        with tempfile.TemporaryDirectory(prefix="tks-edge-adopted-") as folder:
            prepared = prepare(name, case, arguments.timesteps, Path(folder), libraries)
            progress(f"{name}: measuring")
            found["rows"].append(measure(name, prepared, arguments.rounds))
    progress("")
    print(_table(found["rows"], arguments.timesteps))
    if arguments.output is not None:
        write_json(arguments.output, found)


def main() -> int:
    """Measure, print a table, write JSON where asked to; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timesteps", type=int, default=4, help="T [%(default)s]")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each variant [%(default)s]")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the libraries
    return status(lambda: _measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
