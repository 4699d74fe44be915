"""The runtime on aarch64, emulated: its own tests, its commands, and what graphs compute there and here.

    python -m tests.aarch64.run

Needs Debian or Ubuntu on x86-64, and what `make check` installs. `prepare.sh` makes the emulated Python in
`build/aarch64`; the artifacts are exported from `demo/runs` where `make demo` left them, and otherwise from two short
trainings. What is slow under emulation says nothing about speed.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from tests.aarch64.record import SAMPLES
from tks_edge_runtime.artifact import Artifact

Array = npt.NDArray[Any]
ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "build/aarch64"
PYTHON = FOLDER / "python"
NETWORKS = {"digits": (), "digits-relu": ("--neuron", "relu")}
EXPORTS = (
    ("digits", "--timesteps", "1,2", "--precision", "fp32,int8", "--form", "static,step"),
    ("digits", "--timesteps", "2", "--precision", "int8", "--target", "onnxruntime-cpu", "--form", "static,step"),
    ("digits-relu", "--precision", "fp32,int8"),
)
LEFT_OUT = {
    "tests/runtime/test_openvino.py": "OpenVINO is no backend of a Jetson",
    "tests/runtime/test_cli.py::test_doctor_says_what_is_there": "expects OpenVINO",
    "tests/runtime/test_cli.py::test_doctor_goes_on_with_a_backend_that_is_there": "expects OpenVINO",
}
"""Tests of the runtime that do not fit, and why; and those that have `openvino` in their name."""

LOGITS = 1e-5
"""Times the largest logit: float32 sums in another order, by other instructions, differ by some 1e-7 of their terms."""
DECISIONS = 1e-5
"""The share of spikes that may differ: where a sum ends within its rounding of the threshold, either is right."""


def say(text: str) -> None:
    """Print a line at once: what follows may take minutes."""
    print(text, flush=True)


def run(*command: str | Path, path: tuple[str, ...] = ("runtime",)) -> None:
    """Run a command, shown first; its failure ends everything."""
    say(f"$ {shlex.join(str(part).replace(f'{ROOT}/', '') for part in command)}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in path)}
    subprocess.run(command, check=True, cwd=ROOT, env={**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "120"})


def exported() -> Path:
    """The folder of the artifacts, exported anew: the code that wrote those of before may have been another."""
    artifacts = FOLDER / "artifacts"
    shutil.rmtree(artifacts, ignore_errors=True)
    packages = (".", "export", "runtime", "models")
    for name, options in NETWORKS.items():
        runs = ROOT / "demo/runs" if (ROOT / "demo/runs" / name / "model.safetensors").is_file() else FOLDER / "runs"
        if not (runs / name / "model.safetensors").is_file():
            train = ("train", "--dataset", "digits", "--epochs", "2", *options, "--output", runs / name)
            run(sys.executable, "-m", "tks_edge", *train, path=packages)
        for network, *arguments in EXPORTS:
            if network == name:
                wanted = (runs / name, *arguments, "--eval-samples", "100", "--output", artifacts)
                run(sys.executable, "-m", "tks_edge", "export", *wanted, path=packages)
    return artifacts


def watched(artifacts: Path) -> Path:
    """Copies of the artifacts in which every tensor of integers or booleans is an output."""
    folder = FOLDER / "watched"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(artifacts, folder)
    exact = {onnx.TensorProto.BOOL, onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32}
    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        graph = model.graph
        known = {port.name for port in graph.output} | {tensor.name for tensor in graph.initializer}
        computed = {name for node in graph.node for name in node.output}
        graph.output.extend(
            info
            for info in graph.value_info
            if info.name in computed - known and info.type.tensor_type.elem_type in exact
        )
        onnx.save(model, path)
    return folder


@dataclass(frozen=True)
class Agreement:
    """How far what one graph computes here and there agrees.

    Attributes:
        artifact: its file's stem.
        decisions: elements of integer and boolean tensors that were compared.
        differing: those of them that differ.
        samples: inputs for which none differs.
        logits: the largest difference of a logit over these, relative to the largest logit.
        classes: those of these inputs for which the same class is the best.
    """

    artifact: str
    decisions: int
    differing: int
    samples: int
    logits: float
    classes: int

    @property
    def holds(self) -> bool:
        """Whether that is what float32 allows."""
        return (
            self.decisions * DECISIONS >= self.differing
            and self.logits <= LOGITS
            and self.classes == self.samples >= SAMPLES // 2
        )


def agreement(artifact: str, here: dict[str, Array], there: dict[str, Array]) -> Agreement:
    """Compare the outputs of one graph, `[samples x steps, ...]`."""
    steps = len(here["logits"]) // SAMPLES
    differs = np.zeros(SAMPLES, bool)
    decisions = differing = 0
    for name, value in here.items():
        if value.dtype.kind == "f":
            continue
        wrong = (value != there[name]).reshape(SAMPLES, -1)
        decisions, differing, differs = decisions + wrong.size, differing + int(wrong.sum()), differs | wrong.any(1)
    a, b = (values["logits"].reshape(SAMPLES, steps, -1).mean(1)[~differs] for values in (here, there))
    relative = float(np.abs(a - b).max(initial=0) / np.abs(here["logits"]).max())
    return Agreement(artifact, decisions, differing, len(a), relative, int((a.argmax(1) == b.argmax(1)).sum()))


def compared(folder: Path) -> list[Agreement]:
    """What every graph of a folder computes here and there."""
    recorded = []
    for python, name in ((Path(sys.executable), "here.npz"), (PYTHON, "there.npz")):
        run(python, "tests/aarch64/record.py", folder, FOLDER / name)
        with np.load(FOLDER / name) as archive:
            recorded.append({key: archive[key] for key in archive.files})
    found = []
    for path in sorted(folder.glob("*.onnx")):
        one, other = (
            {key.partition("/")[2]: value for key, value in values.items() if key.startswith(f"{path.stem}/")}
            for values in recorded
        )
        found.append(agreement(path.stem, one, other))
    return found


def commands(artifacts: Path) -> None:
    """The runtime, installed from its wheel, on the emulated processor: what a board does first."""
    installed = FOLDER / "installed"
    shutil.rmtree(installed, ignore_errors=True)
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", installed, ROOT / "runtime")
    run(sys.executable, *pip, path=())
    smallest = min(artifacts.glob("*-t1-int8.onnx"), key=lambda path: path.stat().st_size)
    image = FOLDER / "eight.png"
    pixels, _ = Artifact.open(smallest).evaluation_set()
    save = "import sys; from PIL import Image; Image.frombytes('L', (8, 8), bytes.fromhex(sys.argv[2])).save(sys.argv[1])"
    run(sys.executable, "-c", save, image, pixels[0].tobytes().hex())
    for arguments in (("--version",), ("run", smallest, image)):
        run(PYTHON, "-m", "tks_edge_runtime", *arguments, path=("build/aarch64/installed",))


def tests() -> None:
    """The runtime's own tests, emulated."""
    left_out = [part for name in LEFT_OUT for part in ("--deselect", name)]
    options = ("-q", "-p", "no:cacheprovider", "-k", "not openvino", *left_out)
    run(PYTHON, "-m", "pytest", *options, "tests/runtime")


def main() -> int:
    """Do all of it; 1 where something does not hold."""
    run(ROOT / "tests/aarch64/prepare.sh")
    artifacts = exported()
    agreements = compared(watched(artifacts))
    commands(artifacts)
    tests()
    versions = "import platform, onnxruntime, numpy; print(platform.machine(), 'Python', platform.python_version(), "
    versions += "'onnxruntime', onnxruntime.__version__, 'numpy', numpy.__version__)"
    for python in (Path(sys.executable), PYTHON):
        run(python, "-c", versions)
    say(f"\n{'artifact':38} {'integers':>10} {'differ':>7} {'logits':>9} {'same class':>11}")
    for found in agreements:
        classes = f"{found.classes} of {found.samples}"
        row = f"{found.artifact:38} {found.decisions:10,} {found.differing:7} {found.logits:9.1e} {classes:>11}"
        say(row + ("" if found.holds else "  WRONG"))
    whole = all(found.holds for found in agreements)
    say(f"{platform.machine()} and aarch64 {'agree' if whole else 'do NOT agree'}; the runtime's tests passed on aarch64")
    return 0 if whole else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        sys.exit(f"failed with exit code {failure.returncode}: {shlex.join(map(str, failure.cmd))}")
