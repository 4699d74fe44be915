"""A typo in any name of the command line names the nearest one, and a shell completes the names that there are."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tks_edge.commands import completion
from tks_edge.data import facts
from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.device import DEVICES
from tks_edge.imports.example import AXES
from tks_edge.losses import LOSSES
from tks_edge_export.artifact import INPUT_DTYPES
from tks_edge_export.nir_graphs.discretization import FIRES, LEAKS
from tks_edge_export.options import MEMBRANES
from tks_edge_export.passes import PASSES
from tks_edge_models import MODELS, NEURONS
from tks_edge_models.surrogate import SURROGATES
from tks_edge_runtime.exit_measures import MEASURES

TYPOS = (
    ("trian", "train"),
    ("train --modle tiny", "--model"),
    ("train --model tny", "tiny"),
    ("train --loss tsk", "tks"),
    ("train --dataset digts", "digits"),
    ("train --recipe cifar1", "cifar10"),
    ("train --recipe mne.toml", "mine.toml"),
    ("train --augment jiter", "jitter"),
    ("train --neuron liff", "lif"),
    ("train --surrogate atn", "atan"),
    ("train --reset sof", "soft"),
    ("train --precision bf1", "bf16"),
    ("train --checkpoint block", "blocks"),
    ("train --lif-kernel tritn", "triton"),
    ("train --strategy fsd", "fsdp"),
    ("train --loss tks --loss-option alpa=1", "alpha"),
    ("train --dataset digits-dvs --cut tim", "time"),
    ("train --dataset digits-dvs --frames rebn", "rebin"),
    ("train --device cud", "cuda"),
    ("recipes digts", "digits"),
    ("eval runs/digts", "runs/digits"),
    ("export runs/digts", "runs/digits"),
    ("export --format onxn", "onnx"),
    ("export --precision fp23", "fp32"),
    ("export --form statc", "static"),
    ("verify artifacts/digits-t1.onnx --against runs/digits", "artifacts/digits-t1-fp32.onnx"),
    ("sweep runs/digts", "runs/digits"),
    ("sweep --preset quik", "quick"),
    ("sweep --backend openvno", "openvino"),
    ("calibrate-exit x.onnx --run runs/digits --by entropi", "entropy"),
    ("report artifact", "artifacts"),
    ("bundle artifact", "artifacts"),
    ("bundle artifacts --platform aarch", "aarch64"),
    ("deploy pi@board artifact", "artifacts"),
    ("deploy pi@board artifacts --backend tensort", "tensorrt"),
    ("demo --dataset digts", "digits"),
    ("demo --preset quik", "quick"),
)


@pytest.mark.parametrize(("line", "nearest"), TYPOS)
def test_a_typo_names_the_nearest_and_ends_with_2(line: str, nearest: str, app: typer.Typer, in_folder: Path) -> None:
    Path("mine.toml").touch()
    for file in ("runs/digits/config.json", "artifacts/digits-t1-fp32.onnx"):
        Path(file).parent.mkdir(parents=True)
        Path(file).touch()
    result = CliRunner().invoke(app, line.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    (said,) = result.stderr.splitlines()
    assert said.startswith("error: ")
    assert f"Did you mean '{nearest}'?" in said


def test_the_names_of_the_completion_are_those_that_there_are() -> None:
    assert MODELS == completion.MODELS
    assert set(LOSSES) == set(completion.LOSSES)
    assert tuple(AUGMENTATIONS) == facts.AUGMENTATIONS
    assert tuple(SURROGATES) == completion.SURROGATES
    assert (NEURONS, DEVICES) == (
        completion.NEURONS,
        completion.DEVICES,
    )
    assert (LEAKS, FIRES, AXES) == (completion.LEAKS, completion.FIRES, completion.AXES)
    assert (set(MEMBRANES), INPUT_DTYPES, PASSES, MEASURES) == (
        set(completion.MEMBRANES),
        completion.INPUT_DTYPES,
        completion.PASSES,
        completion.MEASURES,
    )


def test_a_run_is_completed_to_its_folder(in_folder: Path) -> None:
    for name in ("demo/runs/digits", "runs/digits", "runs/other"):
        Path(name).mkdir(parents=True)
    for name in ("demo/runs/digits", "runs/digits"):
        Path(name, "config.json").touch()
    assert completion.run("") == ["demo/runs/digits", "runs/digits"]
    assert completion.run("runs/") == ["runs/digits"]
