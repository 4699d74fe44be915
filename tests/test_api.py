"""The public API, written out: what is changed here is changed for everybody who uses it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tks_edge
import tks_edge_runtime
from tests.e2e.conftest import ROOT, environment
from tks_edge.api import TrainOptions
from tks_edge_runtime.errors import InputError

API = """
adopt(module: nn.Module, example_input: Tensor | Sequence[Tensor], *, output: int = 0) -> Network

evaluate(run: Run | Path | str, timesteps: Sequence[int] | None = None, *, frames: str | None = None,
    data: Path | str | None = None, batch_size: int | None = None, workers: int = 0, device: str = 'auto',
    skip_corrupt: bool = False) -> tuple[Accuracy, ...]

export(run: Run | Path | str, timesteps: Sequence[int] | None = None, *, precision: str | Sequence[str] = 'fp32',
    form: str | Sequence[str] = 'static', target: str = 'generic', output: Path | str = 'artifacts',
    name: str | None = None, membrane: str | None = None, quantize_ends: bool = False,
    keep_float: Sequence[str] = (), calibration_samples: int | None = None, per_step: bool = False,
    passes: Sequence[str] = (), skip_passes: Sequence[str] = (), batch_size: int = 1, input_dtype: str = 'uint8',
    verify_samples: int = 128, eval_samples: int = 10000, eval_set: bool = True, frames: str | None = None,
    data: Path | str | None = None, device: str = 'auto') -> list[Exported]

finetune(run: Run | Path | str, output: Path | str, *, data: Path | str | None = None, device: str = 'auto',
    workers: int = 0, save_every: int | None = None, skip_corrupt: bool = False, overwrite: bool = False,
    watcher: Watcher = SILENT, **options: Unpack[TrainOptions]) -> Run

load(path: Path | str, backend: str = 'onnxruntime', *, device: str | None = None, threads: int | None = None,
    spinning: bool = True, cuda_graph: bool = False, steps: int | None = None,
    on_build: BuildProgress | None = None) -> Session

pick(report: Path | str = 'sweep', *, max_latency: float | None = None, min_accuracy: float | None = None,
    max_energy: float | None = None, percentile: str | None = None, prefer: str | None = None,
    network: str | None = None, spiking_only: bool = False) -> Picked

profile(artifact: Path | str, *, preset: str = 'quick', backend: str = 'onnxruntime', device: str | None = None,
    cuda_graph: bool = False, threads: int | None = None, steps: int | None = None, early_exit: bool = False,
    per_layer: bool = False, on_choice: Callable[[Choice], None] | None = None,
    on_progress: Progress | None = None) -> Profiled

report(folder: Path | str, output: Path | str = 'report', *, preset: str = 'quick', backend: str = 'onnxruntime',
    device: str | None = None, threads: int | None = None, cuda_graph: bool = False, program: str = 'tks-edge',
    on_choice: Callable[[Choice], None] | None = None, on_progress: Progress | None = None,
    on_build: Progress | None = None) -> ReportDocument

train(output: Path | str, *, data: Path | str | None = None, download: bool = False, device: str = 'auto',
    workers: int = 0, save_every: int | None = None, skip_corrupt: bool = False, resume: bool = False,
    overwrite: bool = False, watcher: Watcher = SILENT, **options: Unpack[TrainOptions]) -> Run

verify(artifact: Path | str, against: Run | Path | str, *, samples: int = 128, eval_samples: int = 10000,
    data: Path | str | None = None) -> Verified
"""
ON_A_BOARD = ("load", "pick", "profile", "report")
TRAIN_OPTIONS = """
recipe: str, dataset: str, image_size: int, augment: str, frames: dict[str, Any], model: str, neuron: str,
lif: dict[str, Any], timesteps: int, loss: str, loss_options: list[str], objective: dict[str, Any], ema: float,
epochs: int, warmup_epochs: int, batch_size: int, lr: float, weight_decay: float, clip_norm: float, seed: int,
threads: int, compute: dict[str, Any]
"""


def functions(text: str) -> dict[str, str]:
    found = (" ".join(part.split()) for part in text.strip().split("\n\n"))
    return {part.partition("(")[0]: part for part in found}


def normal(text: str) -> str:
    """Without quotes, which `inspect` puts around annotations, and defaults that are objects by their names."""
    text = text.replace('"', "").replace("'", "")
    return text if "<" not in text else text[: text.index("<")] + "SILENT" + text[text.index(">") + 1 :]


def test_the_public_functions_are_these() -> None:
    written = functions(API)
    assert tks_edge.__all__ == ["__version__", *written]
    assert tks_edge_runtime.__all__ == ["__version__", *ON_A_BOARD]
    for name, signature in written.items():
        assert normal(f"{name}{inspect.signature(getattr(tks_edge, name))}") == normal(signature)
    for name in ON_A_BOARD:
        assert getattr(tks_edge, name) is getattr(tks_edge_runtime, name)


def test_the_options_of_a_training_are_these() -> None:
    hints = inspect.get_annotations(TrainOptions).items()
    found = ", ".join(f"{name}: {getattr(hint, '__forward_arg__', hint)}" for name, hint in hints)
    assert found == " ".join(TRAIN_OPTIONS.split())


def test_a_training_takes_whatever_decides_the_weights() -> None:
    from tks_edge.settings import TrainSettings

    # What it starts from is the first argument of `finetune`.
    assert set(inspect.get_annotations(TrainOptions)) == set(inspect.get_annotations(TrainSettings)) - {"start"}


def test_every_public_function_is_documented() -> None:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    for name in functions(API):
        documented = inspect.getdoc(getattr(tks_edge, name)) or ""
        assert "Args:" in documented, name
        assert "Raises:" in documented, name
        assert f"| `{name}(" in text, name


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("train", {"save_every": 0}),
        ("train", {"workers": -1}),
        ("finetune", {"run": "nowhere", "save_every": 0}),
        ("evaluate", {"run": "nowhere", "batch_size": 0}),
        ("evaluate", {"run": "nowhere", "workers": -1}),
        ("export", {"run": "nowhere", "eval_samples": 0}),
        ("export", {"run": "nowhere", "verify_samples": 0}),
        ("export", {"run": "nowhere", "batch_size": 0}),
        ("export", {"run": "nowhere", "calibration_samples": 0}),
        ("verify", {"artifact": "no.onnx", "against": "nowhere", "samples": 0}),
        ("verify", {"artifact": "no.onnx", "against": "nowhere", "eval_samples": 0}),
    ],
)
def test_a_number_out_of_range_is_named_before_anything_is_opened(
    name: str, given: dict[str, Any], tmp_path: Path
) -> None:
    into = {"output": tmp_path / "run"} if name in ("train", "finetune") else {}
    option, value = list(given.items())[-1]
    with pytest.raises(InputError, match=rf"^{option} is {value}; allowed is at least"):
        getattr(tks_edge, name)(**into, **given)
    assert not list(tmp_path.iterdir())


def run(program: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, cwd=cwd, env=environment())


def test_importing_loads_nothing(tmp_path: Path) -> None:
    run(
        "import sys, tks_edge, tks_edge_runtime\n"
        "assert {'train', 'load', 'pick'} <= set(dir(tks_edge))\n"
        "assert not {'torch', 'numpy', 'onnx', 'matplotlib', 'tks_edge.api'} & sys.modules.keys()\n"
        "from tks_edge import load, pick, profile, report\n"
        "assert not {'torch', 'onnx', 'tks_edge.api'} & sys.modules.keys()\n"
        "import tks_edge_runtime.reporting.build, tks_edge.evaluation\n"
        "assert callable(tks_edge_runtime.report) and callable(tks_edge.load)\n"
        "try: tks_edge.nothing\n"
        "except AttributeError as error: assert 'nothing' in str(error)\n",
        tmp_path,
    )
