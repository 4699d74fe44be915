"""A folder of recordings from training to the report: the first frames, all of it in fewer, by step, and the twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.few_plots import DRAW, few_plots
from tests.tks_edge.test_event_sets import write_folder
from tks_edge_runtime.artifact import Artifact, FrameSpec
from tks_edge_runtime.presets import PRESETS

SMALL = ("--dataset", "event-folder", "--data", "recordings", "--image-size", "16", "--model", "tiny", "--epochs", "1")
FEW = ("--verify-samples", "4", "--output", "artifacts", "--json")


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.05)
    monkeypatch.setattr(DRAW, few_plots)


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def done(app: typer.Typer, *arguments: str) -> Any:
    """What a command that must succeed says in JSON."""
    result = invoke(app, *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a network of four timesteps and its twin were trained on recordings, and exported."""
    from tks_edge.cli import app

    path = tmp_path_factory.mktemp("recordings")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        write_folder(path / "recordings", each=20)
        done(app, "train", *SMALL, "--timesteps", "4", "--batch-size", "7", "--output", "runs/a", "--json")
        done(app, "train", *SMALL, "--neuron", "relu", "--batch-size", "7", "--output", "runs/twin", "--json")
        done(app, "export", "runs/a", "--timesteps", "1,4", *FEW)
        done(app, "export", "runs/a", "--timesteps", "1,2", "--frames", "rebin", "--precision", "fp32,int8", *FEW)
        done(app, "export", "runs/a", "--form", "step", *FEW)
        done(app, "export", "runs/twin", *FEW)
    return path


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_both_ways_are_evaluated_and_agree_on_all_frames(app: typer.Typer, inside: Path) -> None:
    rows = done(app, "eval", "runs/a", "--json")["accuracies"]
    assert [(row["frames"], row["timesteps"]) for row in rows] == [
        (way, t) for way in ("first", "rebin") for t in (1, 2, 4)
    ]
    assert rows[2]["correct"] == rows[5]["correct"]
    (one,) = done(app, "eval", "runs/twin", "--json")["accuracies"]
    assert (one["frames"], one["timesteps"]) == ("first", 1)
    more = done(app, "eval", "runs/a", "--frames", "rebin", "--timesteps", "8", "--json")["accuracies"]
    assert more[0]["total"] == one["total"]


@pytest.mark.parametrize(
    ("file", "frames", "shape"),
    [
        ("a-t1-fp32", FrameSpec("time", 4), (1, 1, 2, 16, 16)),
        ("a-t4-fp32", FrameSpec("time", 4), (1, 4, 2, 16, 16)),
        ("a-rebin-t2-fp32", FrameSpec("time", 2, norms_restated=True), (1, 2, 2, 16, 16)),
        ("a-rebin-t1-int8", FrameSpec("time", 1, norms_restated=True), (1, 1, 2, 16, 16)),
        ("a-step-fp32", FrameSpec("time", 4), (1, 2, 16, 16)),
        ("twin-t1-fp32", FrameSpec("time", 1), (1, 1, 2, 16, 16)),
    ],
)
def test_an_artifact_says_what_frames_it_takes(
    file: str, frames: FrameSpec, shape: tuple[int, ...], inside: Path
) -> None:
    artifact = Artifact.open(inside / "artifacts" / f"{file}.onnx")
    assert (artifact.manifest.encoding, artifact.manifest.frames) == ("frames", frames)
    assert artifact.manifest.input.shape == shape
    assert artifact.manifest.input.dtype == "uint8"
    inputs, labels = artifact.evaluation_set()
    # What the graph is evaluated on are the same recordings, cut as it takes them.
    assert inputs.shape[1] == artifact.manifest.timesteps
    assert len(labels) == 8
    if frames.timesteps == artifact.manifest.timesteps:
        assert inputs.sum() == 8 * 50


@pytest.mark.parametrize("file", ["a-rebin-t2-int8", "a-t1-fp32", "a-step-fp32"])
def test_an_artifact_is_verified_against_its_run(file: str, app: typer.Typer, inside: Path) -> None:
    found = done(app, "verify", f"artifacts/{file}.onnx", "--against", "runs/a", "--samples", "4", "--json")
    assert found["culprit"] is None


def test_frames_stop_early_too(app: typer.Typer, inside: Path) -> None:
    path = "artifacts/a-step-fp32.onnx"
    found = done(app, "calibrate-exit", path, "--run", "runs/a", "--max-loss", "100", "--json")
    assert (found["timesteps"], found["split"]) == (4, "validation")
    assert {tuple(row["stopped"][1:]) for row in found["rules"]} == {(0, 0, 0)}
    exits = done(app, "profile", path, "--early-exit", "--preset", "quick", "--json")["early_exit"]
    assert exits["stopped"] == [8, 0, 0, 0]
    Path(found["rule"]).unlink()


def test_the_report_holds_every_graph_against_the_twin(app: typer.Typer, inside: Path) -> None:
    document = done(app, "report", "artifacts", "--preset", "quick", "--output", "report", "--json")
    assert len(document["rows"]) == 8
    accuracies = {(row["frames"], row["timesteps"]): row for row in done(app, "eval", "runs/a", "--json")["accuracies"]}
    for row in document["rows"]:
        if row["is_twin"]:
            continue
        assert row["ratio_to_twin"] is not None, row["file"]
        way = "rebin" if "rebin" in row["file"] else "first"
        if row["precision"] == "fp32":
            assert row["accuracy"]["correct"] == accuracies[way, row["timesteps"]]["correct"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("eval", "runs/a", "--timesteps", "8"), "was trained on 4 frames of each recording"),
        (("export", "runs/a", "--timesteps", "8"), "was trained on 4 frames of each recording"),
        (("export", "runs/a", "--frames", "last"), "unknown way to fewer frames: 'last'"),
        (("export", "runs/a", "--frames", "rebin", "--form", "step"), "serves one T"),
        (("train", "--dataset", "digits", "--frames", "rebin"), "digits holds still images"),
        (("train", "--dataset", "digits-dvs", "--cut", "space"), "unknown way to cut frames: 'space'"),
        (("export", "runs/a", "--format", "torch-trt"), "compiles networks for still images"),
        (("run", "artifacts/a-t4-fp32.onnx", "photo.png"), "not image files"),
    ],
)
def test_what_recordings_are_not_for(arguments: tuple[str, ...], said: str, app: typer.Typer, inside: Path) -> None:
    result = invoke(app, *arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_step_graphs_of_whole_recordings_have_a_file_for_each_t(app: typer.Typer, inside: Path) -> None:
    step = ("--form", "step", "--frames", "rebin", "--verify-samples", "4", "--output", "steps", "--json")
    for t in ("1", "2"):
        done(app, "export", "runs/a", "--timesteps", t, *step)
    assert {path.name for path in Path("steps").glob("*.onnx")} == {f"a-rebin-t{t}-step-fp32.onnx" for t in (1, 2)}
    found = done(app, "verify", "steps/a-rebin-t1-step-fp32.onnx", "--against", "runs/a", "--samples", "4", "--json")
    assert found["culprit"] is None
