"""The runtime on aarch64, emulated: its own tests, its commands, and what graphs compute there and here.

    python -m tests.aarch64.run

Needs Debian or Ubuntu on x86-64, and what `make check` installs. `prepare.sh` makes the emulated Python in
`build/aarch64`; the artifacts are exported from `demo/runs` where `make demo` left them, and otherwise from two short
trainings. How long anything takes there says nothing about a board.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from tests.aarch64.agreement import EQUAL, WRONG, agreement
from tests.board_tests import LEFT_OUT, selection
from tks_edge_runtime.artifact import GENERIC, Artifact

Array = npt.NDArray[Any]
ROOT = Path(__file__).parent.parent.parent
FOLDER = Path("build/aarch64")
EMULATED = FOLDER / "python"
HERE = ".venv/bin/python" if Path(sys.executable) == ROOT / ".venv/bin/python" else sys.executable
NETWORKS = {"digits": (), "digits-relu": ("--neuron", "relu")}
EXPORTS = (
    ("digits", "--timesteps", "1,2", "--precision", "fp32,int8", "--form", "static,step"),
    ("digits", "--timesteps", "2,8", "--precision", "int8", "--target", "onnxruntime-cpu"),
    ("digits-relu", "--precision", "fp32,int8"),
)
VERSIONS = (
    "import platform, numpy, onnxruntime; print(platform.machine(), 'Python', platform.python_version(), "
    "'onnxruntime', onnxruntime.__version__, 'numpy', numpy.__version__)"
)


def say(text: str) -> None:
    """Print a line at once: what follows may take minutes."""
    print(text, flush=True)


def run(*command: str | Path, path: tuple[str, ...] = ("runtime",), quiet: bool = False) -> None:
    """Run a command in the root of the checkout, shown first; its failure ends everything."""
    say(f"$ {shlex.join(map(str, command))}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in path)}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL if quiet else None)


def emptied(name: str) -> Path:
    """A folder of this name that holds nothing of an earlier run: other code may have written it."""
    shutil.rmtree(ROOT / FOLDER / name, ignore_errors=True)
    (ROOT / FOLDER / name).mkdir(parents=True)
    return FOLDER / name


def exported() -> Path:
    """The folder of the artifacts, exported now."""
    artifacts, packages = emptied("artifacts"), (".", "export", "runtime", "models")
    for name, options in NETWORKS.items():
        trained = [folder / name for folder in (Path("demo/runs"), FOLDER / "runs")]
        whole = [folder for folder in trained if (ROOT / folder / "model.safetensors").is_file()]
        folder = whole[0] if whole else trained[-1]
        if not whole:
            how: Sequence[str | Path] = ("--dataset", "digits", "--epochs", "2", *options, "--output", folder)
            run(HERE, "-m", "tks_edge", "train", *how, path=packages)
        for network, *arguments in EXPORTS:
            if network == name:
                wanted: Sequence[str | Path] = (folder, *arguments, "--eval-samples", "100", "--output", artifacts)
                run(HERE, "-m", "tks_edge", "export", *wanted, path=packages, quiet=True)
    return artifacts


def watched(artifacts: Path) -> Path:
    """Copies of the graphs in which every tensor of integers or booleans that a node gives is an output."""
    copies = emptied("watched")
    exact = {onnx.TensorProto.BOOL, onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32}
    for path in (ROOT / artifacts).glob("*.onnx"):
        model = onnx.load(path)
        graph = model.graph
        given = {name for node in graph.node for name in node.output} - {port.name for port in graph.output}
        graph.output.extend(
            info for info in graph.value_info if info.name in given and info.type.tensor_type.elem_type in exact
        )
        onnx.save(model, ROOT / copies / path.name)
    return copies


def compare(artifacts: Path) -> bool:
    """Print a table of what every artifact computes here and there; whether all of them may be used there."""
    copies, recorded = watched(artifacts), []
    for python, name in ((HERE, "here.npz"), (EMULATED, "there.npz")):
        run(python, "tests/aarch64/record.py", artifacts, copies, FOLDER / name)
        with np.load(ROOT / FOLDER / name) as archive:
            recorded.append({key: archive[key] for key in archive.files})
    say(f"\n{'artifact':32} {'integers':>10} {'differ':>7} {'logits':>8} {'right here':>11} {'there':>6}  status")
    holds = True
    for path in sorted((ROOT / artifacts).glob("*.onnx")):
        head = f"{path.stem}/"
        here, there = ({k[len(head) :]: v for k, v in part.items() if k.startswith(head)} for part in recorded)
        found = agreement(path.stem, here, there)
        allowed = found.status == EQUAL or Artifact.open(path).manifest.target != GENERIC
        holds = holds and allowed and found.status != WRONG
        figures = f"{found.integers:10,} {found.differing:7,} {found.logits:8.1e}"
        say(f"{found.artifact:32} {figures} {found.correct[0]:11} {found.correct[1]:6}  {found.status}")
    say("")
    return holds


def use(artifacts: Path) -> None:
    """The runtime, installed from its folder, on the emulated processor: what a board does first."""
    from PIL import Image

    installed = emptied("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", installed, "./runtime")
    run(HERE, *pip, path=())
    artifact, image = artifacts / "digits-t2-int8.onnx", FOLDER / "digit.png"
    inputs, _ = Artifact.open(ROOT / artifact).evaluation_set()
    Image.fromarray(np.asarray(inputs[0, 0], np.uint8)).save(ROOT / image)
    for arguments in (("--version",), ("run", artifact, image)):
        run(EMULATED, "-m", "tks_edge_runtime", *arguments, path=(str(installed),))


def main() -> int:
    """Do all of it; 1 where something does not hold."""
    say(f"{datetime.now(timezone.utc):%Y-%m-%d}")
    run("tests/aarch64/prepare.sh", HERE)
    for python in (HERE, EMULATED):
        run(python, "-c", VERSIONS)
    artifacts = exported()
    use(artifacts)
    holds = compare(artifacts)
    for name, reason in LEFT_OUT.items():
        say(f"left out: {name} ({reason})")
    run(EMULATED, "-m", "pytest", *selection(), "tests/runtime")
    differs = "" if holds else "do NOT "
    say(f"the runtime's tests pass on aarch64; graphs for no engine in particular {differs}agree with x86-64")
    return 0 if holds else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        sys.exit(f"failed with exit code {failure.returncode}: {shlex.join(map(str, failure.cmd))}")
