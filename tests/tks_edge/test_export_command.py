"""`tks-edge export` and `tks-edge verify` as a user meets them: what is written, and what is refused before that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import typer
from onnx import numpy_helper
from typer.testing import CliRunner

import tks_edge
from tests.tks_edge.short_training import short
from tks_edge.data import registry
from tks_edge.data.dataset import Dataset
from tks_edge.trainer import train
from tks_edge_runtime.errors import InputError

pytestmark = pytest.mark.usefixtures("few_digits")

FEW = ("--verify-samples", "4")


@pytest.fixture(scope="module")
def trained(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of a short training, and of one of the twin."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._OPENERS, "digits", lambda _: few)
        train(short(), folder / "digits")
        train(short(neuron="relu", timesteps=1), folder / "digits-relu")
    return folder


@pytest.fixture
def runs(trained: Path, in_folder: Path) -> Path:
    """Both runs in a working directory of its own."""
    shutil.copytree(trained, in_folder / "runs")
    return in_folder


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def names(folder: str = "artifacts") -> set[str]:
    return {path.stem for path in Path(folder).glob("*.onnx")}


def test_every_precision_and_form_is_written_and_verified(app: typer.Typer, runs: Path) -> None:
    wanted = ("--timesteps", "1,2", "--precision", "fp32,fp16,int8", "--form", "static,step")
    result = invoke(app, "export", "runs/digits", *wanted, *FEW, "--json")
    assert result.exit_code == 0, result.stderr
    written = json.loads(result.stdout)["artifacts"]
    assert [(row["precision"], row["form"], row["timesteps"]) for row in written] == [
        (precision, form, timesteps)
        for precision in ("fp32", "fp16", "int8")
        for form, timesteps in (("static", 1), ("static", 2), ("step", 2))
    ]
    assert names() == {
        f"digits-{unrolled}-{precision}" for unrolled in ("t1", "t2", "step") for precision in ("fp32", "fp16", "int8")
    }
    for row in written:
        assert row["verified_samples"] == 4
        assert row["max_logit_difference"] <= row["logit_tolerance"]
        assert (row["spikes_exact"] > 0) == (row["precision"] == "int8")
        assert row["agreement"] == 1.0 or row["precision"] != "fp32"
        if row["form"] == "step":  # of all forms: tests/e2e/test_precisions.py
            result = invoke(app, "verify", row["file"], "--against", "runs/digits", "--samples", "4")
            assert result.exit_code == 0, result.stderr
            assert f"{row['file']} is the network of runs/digits." in result.stdout


def test_the_name_says_what_the_file_was_lowered_for(app: typer.Typer, runs: Path) -> None:
    for target in ("generic", "onnxruntime-cpu", "openvino", "tensorrt"):
        result = invoke(app, "export", "runs/digits", "--timesteps", "2", "--target", target, *FEW)
        assert result.exit_code == 0, result.stderr
    stem = "digits-t2-fp32"
    assert names() == {stem, f"{stem}-onnxruntime-cpu", f"{stem}-openvino", f"{stem}-tensorrt"}


def test_no_timesteps_at_all_are_refused(runs: Path) -> None:
    for function in (tks_edge.evaluate, tks_edge.export):
        with pytest.raises(InputError, match="no timesteps are given"):
            function("runs/digits", [])


def test_options_of_a_precision_are_for_its_graphs_alone(app: typer.Typer, runs: Path) -> None:
    asked = ("--precision", "fp32,fp16,int8", "--membrane", "fp16", "--keep-float", "body.3.0", "--quantize-ends")
    more = ("--form", "static,step", "--per-step", "--calibration-samples", "8")
    result = invoke(app, "export", "runs/digits", "--timesteps", "2", *asked, *more, *FEW)
    assert result.exit_code == 0, result.stderr
    found = {}
    for name in names():
        manifest = json.loads(invoke(app, "info", f"artifacts/{name}.onnx", "--json").stdout)["manifest"]
        precision = manifest["precision"]
        found[name] = (precision["membrane"], precision["ends"], precision["kept_float"], len(manifest["outputs"]))
    assert found == {
        "digits-t2-fp32": ("float32", "float32", [], 2),
        "digits-step-fp32": ("float32", "float32", [], 1),
        "digits-t2-fp16": ("float16", "float16", [], 2),
        "digits-step-fp16": ("float16", "float16", [], 1),
        "digits-t2-int8": ("float32", "int8", ["body.3.0"], 2),
        "digits-step-int8": ("float32", "int8", ["body.3.0"], 1),
    }


def test_a_layer_that_is_float_anyway_is_not_kept(app: typer.Typer, runs: Path) -> None:
    asked = ("--timesteps", "1", "--precision", "int8", "--keep-float", "stem.0")
    result = invoke(app, "export", "runs/digits", *asked, *FEW)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: --keep-float stem.0 changes nothing: it is the first layer")
    assert not names()


def test_samples_that_nothing_was_calibrated_on_are_mentioned(app: typer.Typer, runs: Path) -> None:
    asked = ("--timesteps", "1", "--precision", "int8", "--calibration-samples", "5")
    said = "--calibration-samples changed nothing"
    assert said in invoke(app, "export", "runs/digits", *asked, *FEW).stdout
    assert said not in invoke(app, "export", "runs/digits", *asked, "--quantize-ends", *FEW).stdout


def test_a_layer_left_in_float_is_named(app: typer.Typer, runs: Path) -> None:
    asked = ("--timesteps", "1", "--precision", "int8", "--keep-float", "body.3.0")
    result = invoke(app, "export", "runs/digits", *asked, *FEW)
    assert "left in float: body.3.0" in result.stdout, result.output
    assert "left in float" not in invoke(app, "export", "runs/digits", *asked[:-2], *FEW).stdout


def test_a_skipped_pass_is_left_out_and_named(app: typer.Typer, runs: Path) -> None:
    skipped = ("--skip-pass", "fold_readout", "--skip-pass", "first_step")
    result = invoke(app, "export", "runs/digits", "--timesteps", "2", *skipped, *FEW)
    assert result.exit_code == 0, result.stderr
    manifest = json.loads(invoke(app, "info", "artifacts/digits-t2-fp32.onnx", "--json").stdout)["manifest"]
    assert manifest["skipped_passes"] == ["first_step", "fold_readout"]
    assert not {"first_step", "fold_readout"} & set(manifest["passes"])
    assert "passes skipped" in invoke(app, "info", "artifacts/digits-t2-fp32.onnx").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--precision fp23", "unknown precision 'fp23'. Did you mean 'fp32'? Allowed: fp16, fp32, int8."),
        ("--precision fp32,in8", "unknown precision 'in8'. Did you mean 'int8'?"),
        ("--precision int8,int8", "precision 'int8,int8' names int8 twice. Name each once."),
        ("--precision ,", "unknown precision ''."),
        ("--form steps", "unknown form 'steps'. Did you mean 'step'? Allowed: static, step."),
        ("--form step,step", "form 'step,step' names step twice."),
        ("--target openvinno", "unknown target 'openvinno'. Did you mean 'openvino'?"),
        ("--target tensorrt --precision fp32,fp61", "unknown precision 'fp61'. Did you mean 'fp16'?"),
        ("--timesteps 1,2,1", "timesteps '1,2,1' name 1 twice. Name each once."),
        ("--skip-pass fold_batchnorm", "unknown pass 'fold_batchnorm'. Did you mean 'fold_batch_norm'?"),
        ("--precision fp32,int8 --skip-pass fold_constants", "fold_constants cannot be skipped: int8 for generic"),
        ("--membrane fp16", "--membrane changes nothing: it is of fp16 graphs, and --precision asks for fp32."),
        ("--membrane fp32 --precision fp32,int8", "Add fp16 there, or leave --membrane out."),
        ("--precision fp16 --membrane fp61", "unknown membrane 'fp61'. Did you mean 'fp16'?"),
        ("--precision fp32,fp16 --quantize-ends", "--quantize-ends changes nothing: it is of int8 graphs"),
        ("--keep-float body.1.0", "--keep-float changes nothing: it is of int8 graphs"),
        ("--precision fp32,int8 --keep-float body.1", "unknown layer 'body.1'. Did you mean 'body.1.0'?"),
        ("--calibration-samples 4", "--calibration-samples changes nothing: it is of int8 graphs"),
        ("--precision int8 --skip-pass hard_sigmoid", "--skip-pass hard_sigmoid changes nothing: it is of fp32 graphs"),
        (
            "--skip-pass hard_sigmoid",
            "--skip-pass hard_sigmoid changes nothing: it is of fp32 graphs for onnxruntime-cpu",
        ),
        ("--form step --per-step", "--per-step changes nothing: it is of static graphs, and --form asks for step."),
        ("--input-dtype uint18", "unknown input dtype 'uint18'. Did you mean 'uint8'?"),
        ("--name a/b", "give a plain name without slashes"),
    ],
)
def test_wrong_options_are_one_clear_line_and_nothing_is_written(
    arguments: str, said: str, app: typer.Typer, runs: Path
) -> None:
    result = invoke(app, "export", "runs/digits", *arguments.split())
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert {path.name for path in runs.iterdir()} == {"runs"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--form step", "it has no state to hand from step to step. Use --form static."),
        ("--form static,step", "Use --form static."),
        ("--timesteps 2", "it has no state and runs one pass. Use --timesteps 1."),
        ("--precision fp16 --membrane fp16", "it has no membrane. Leave --membrane out."),
    ],
)
def test_a_relu_network_has_no_state(arguments: str, said: str, app: typer.Typer, runs: Path) -> None:
    result = invoke(app, "export", "runs/digits-relu", *arguments.split())
    assert (result.exit_code, said in result.stderr) == (2, True), result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert not Path("artifacts").exists()


def test_verify_names_the_layer_that_was_changed(app: typer.Typer, runs: Path) -> None:
    invoke(app, "export", "runs/digits", "--timesteps", "2", "--precision", "int8", *FEW)
    path = "artifacts/digits-t2-int8.onnx"
    model = onnx.load(path)
    (weight,) = (i for i in model.graph.initializer if i.name == "body.3.0.weight.rounded.codes")
    weight.CopyFrom(numpy_helper.from_array(np.negative(numpy_helper.to_array(weight)), weight.name))
    onnx.save(model, path)
    result = invoke(app, "verify", path, "--against", "runs/digits", "--samples", "4", "--bisect", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["first_diverging"] == {"layer": "body.4", "timestep": 1}
    assert found["culprit"] is None
    assert "the spikes differ first in layer 'body.4' at timestep 1" in result.stderr
    assert "it was changed after it was written" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: artifacts/digits-t2-int8.onnx is not the network")
