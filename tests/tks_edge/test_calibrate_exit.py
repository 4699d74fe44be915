"""`tks-edge calibrate-exit` as a user meets it: a rule chosen on the validation split, beside the artifact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.tks_edge.short_training import short
from tks_edge.checkpoint import load_run
from tks_edge.data import registry
from tks_edge.data.dataset import Dataset
from tks_edge.evaluation import evaluate
from tks_edge.trainer import train
from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.exit_choice import Trial
from tks_edge_runtime.exit_rule import CalibratedRule, read_exit_rule, rule_path
from tks_edge_runtime.presets import PRESETS
from tks_edge_runtime.session import load

pytestmark = pytest.mark.usefixtures("few_digits")
STEP = Path("artifacts/digits-step-fp32.onnx")
T = 4


def invoke(app: typer.Typer, *arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def exported(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of T=4 and its artifacts: both forms, the step form in batches too."""
    from tks_edge.cli import app

    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._OPENERS, "digits", lambda _: few)
        patch.chdir(folder)
        train(short(timesteps=T), Path("runs/digits"))
        train(short(timesteps=T, seed=1), Path("runs/other"))
        few_samples = ("--timesteps", T, "--verify-samples", 4)
        for more in (("--form", "static,step"), ("--form", "step", "--batch-size", 3, "--output", "batches")):
            result = invoke(app, "export", "runs/digits", *few_samples, *more)
            assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def inside(exported: Path, in_folder: Path) -> Path:
    shutil.copytree(exported, in_folder, dirs_exist_ok=True)
    return in_folder


def calibrated(app: typer.Typer, artifact: Path, *more: object) -> tuple[CalibratedRule, dict[str, Any]]:
    result = invoke(app, "calibrate-exit", artifact, "--run", "runs/digits", "--json", *more)
    assert result.exit_code == 0, result.output
    kept = read_exit_rule(artifact)
    assert kept is not None
    return kept, json.loads(result.stdout)


@pytest.mark.parametrize("folder", ["artifacts", "batches"])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_rule_gives_on_the_validation_split_what_is_written(
    app: typer.Typer, inside: Path, few: Dataset, folder: str, backend: str
) -> None:
    artifact = inside / folder / STEP.name
    kept, document = calibrated(app, artifact, "--max-loss", 10, "--backend", backend)
    assert (kept.dataset, kept.split, kept.samples, kept.timesteps) == ("digits", "validation", 20, T)
    inputs, labels = few.validation.stacked()
    with load(artifact, backend) as session, session.anytime(kept.rule) as anytime:
        answers = anytime.run(inputs)
    assert kept.correct == np.count_nonzero(answers.logits.argmax(axis=1) == labels)
    assert kept.mean_steps == answers.steps.mean() < T
    whole = evaluate(load_run("runs/digits").network, few.validation, [T]).accuracies()[0]
    assert kept.correct_at_timesteps == whole.correct
    assert kept.correct >= whole.correct - 2
    (chosen,) = (row for row in document["rules"] if row["chosen"])
    assert (chosen["measure"], chosen["threshold"]) == (kept.measure, kept.threshold)
    assert chosen["stopped"] == np.bincount(answers.steps - 1, minlength=T).tolist()
    assert chosen["mean_steps"] == min(row["mean_steps"] for row in document["rules"])
    assert document["without"] == {"correct": whole.correct, "total": 20, "mean_steps": T, "stopped": [0, 0, 0, 20]}


def test_it_says_what_it_tried_what_it_wrote_and_what_comes_next(app: typer.Typer, inside: Path) -> None:
    asked = ("calibrate-exit", STEP, "--run", "runs/digits", "--max-loss", 100)
    first, second = invoke(app, *asked), invoke(app, *asked, "--by", "entropy")
    assert first.exit_code == second.exit_code == 0, first.output
    text = first.stdout
    for words in ("validation split of digits", "none", "confidence", "entropy", "margin", "4: 100.0%", "1: 100.0%"):
        assert words in text
    assert "100 points are 20 of these 20 samples; on others" in text
    assert "written: artifacts/digits-step-fp32.exit.json (" in text
    assert text.endswith(f"next: tks-edge profile {STEP} --early-exit\n")
    assert "replaced: artifacts/digits-step-fp32.exit.json (entropy <= " in second.stdout
    assert "confidence" not in second.stdout


def test_fewer_timesteps_are_the_most_that_a_sample_runs(app: typer.Typer, inside: Path) -> None:
    kept, document = calibrated(app, STEP, "--timesteps", 2, "--samples", 7, "--max-loss", 100)
    assert (kept.timesteps, kept.samples) == (2, 7)
    assert len(document["without"]["stopped"]) == 2


def test_profile_takes_the_rule_from_beside_the_artifact(
    app: typer.Typer, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.01)
    kept, _ = calibrated(app, STEP, "--max-loss", 10)
    result = invoke(app, "profile", STEP, "--early-exit", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["early_exit"]
    assert (found["rule"]["measure"], found["rule"]["threshold"]) == (kept.measure, kept.threshold)
    assert found["total"] == sum(found["stopped"]) == 30


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("artifacts/digits-t4-fp32.onnx",), 2, "static graph of T=4, which cannot stop early. Export one timestep"),
        ((STEP, "--run", "runs/other"), 1, "exported from other weights than those in runs/other"),
        ((STEP, "--by", "margins"), 2, "unknown measure 'margins'. Did you mean 'margin'?"),
        ((STEP, "--timesteps", 1), 2, "runs for one timestep, and nothing is left to stop"),
        ((STEP, "--timesteps", 5), 2, "was exported for 1 to 4"),
        ((STEP, "--backend", "tensort"), 2, "Did you mean 'tensorrt'?"),
        (("artifacts/nothing.onnx",), 2, "cannot read artifacts/nothing.onnx"),
    ],
)
def test_wrong_use_is_one_clear_line_and_writes_nothing(
    app: typer.Typer, inside: Path, arguments: tuple[object, ...], exit_code: int, words: str
) -> None:
    run = () if "--run" in arguments else ("--run", "runs/digits")
    result = invoke(app, "calibrate-exit", *arguments, *run)
    assert result.exit_code == exit_code, result.output
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert not list(inside.rglob("*.exit.json"))


def test_where_nothing_is_gained_the_rule_that_was_there_stays(
    app: typer.Typer, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, _ = calibrated(app, STEP, "--max-loss", 100)
    monkeypatch.setattr(Trial, "choose", lambda *_: None)
    result = invoke(app, "calibrate-exit", STEP, "--run", "runs/digits", "--max-loss", 0)
    assert result.exit_code == 1
    assert "no threshold of confidence or entropy or margin stops a sample early within 0 points" in result.stderr
    assert read_exit_rule(STEP) == kept


def test_a_rule_of_an_artifact_that_was_exported_again_is_refused(app: typer.Typer, inside: Path) -> None:
    calibrated(app, STEP, "--max-loss", 100)
    again = ("--timesteps", 2, "--form", "step", "--verify-samples", 4)
    assert invoke(app, "export", "runs/digits", *again).exit_code == 0
    assert Artifact.open(STEP).manifest.timesteps == 2
    assert rule_path(STEP).is_file()
    result = invoke(app, "profile", STEP, "--early-exit")
    assert result.exit_code == 2
    assert "was chosen for another artifact than digits-step-fp32.onnx" in result.stderr
