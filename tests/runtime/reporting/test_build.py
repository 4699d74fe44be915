"""A report of real artifacts, measured for a moment: what it says of them, and how bad input ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.few_plots import DRAW, few_plots
from tests.runtime.conftest import CPU_BACKENDS, Build, BuildSpiking
from tks_edge_runtime import presets
from tks_edge_runtime.artifact import Accuracy, EvaluationSpec, NetworkSpec, Precision
from tks_edge_runtime.commands.report import report
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.reporting import build as building
from tks_edge_runtime.reporting.build import FILES
from tks_edge_runtime.reporting.columns import COLUMNS
from tks_edge_runtime.reporting.document import ReportDocument, schema
from tks_edge_runtime.reporting.plots import draw
from tks_edge_runtime.reporting.row import FAILED
from tks_edge_runtime.reporting.wording import NONE

SAMPLES = 20
TWIN = {
    "network": NetworkSpec("tiny", "relu", {"num_classes": 4, "in_channels": 1}, 256),
    "neuron": None,
    "train_timesteps": 1,
}

app = typer.Typer()
app.command()(report)
app.callback()(lambda: None)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "quick", 0.05)
    monkeypatch.setattr(DRAW, few_plots)


@pytest.fixture
def plotted(_short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all plots."""
    monkeypatch.setattr(DRAW, draw)


@pytest.fixture
def folder(build: Build, tmp_path: Path) -> Path:
    """The network at T=1, 2 and 8 and its twin, all on one evaluation set, which T=8 classifies without a mistake."""
    made = tmp_path / "artifacts"
    made.mkdir()
    full = build(folder=made, timesteps=8, samples=SAMPLES, wrong=0)
    np.savez(made / "shared.eval.npz", inputs=full.inputs, labels=full.labels)
    sha256 = sha256_of(made / "shared.eval.npz")
    evaluation = EvaluationSpec("digits", "test", SAMPLES, sha256, "shared.eval.npz")
    recorded = (Accuracy(2, SAMPLES + 1, SAMPLES + 1), Accuracy(8, SAMPLES, SAMPLES))
    for timesteps in (1, 2, 8):
        build(folder=made, timesteps=timesteps, samples=SAMPLES, evaluation=evaluation, accuracies=recorded)
    build(folder=made, name="small-relu", timesteps=1, samples=SAMPLES, evaluation=evaluation, **TWIN)
    return made


def measured(folder: Path, **options: Any) -> ReportDocument:
    return building.report(folder, folder.parent / "report", **options)


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def spoil_golden(folder: Path) -> None:
    path = folder / "small-t2-fp32.golden.npz"
    with np.load(path) as archive:
        pair = dict(archive)
    np.savez(path, input=pair["input"], logits=pair["logits"] + 1)


def test_each_artifact_is_a_row_with_what_was_measured(folder: Path) -> None:
    stages: list[tuple[str, float]] = []
    document = measured(folder, on_progress=lambda stage, done: stages.append((stage, done)))
    assert [row.file for row in document.rows] == [
        "small-t1-fp32.onnx",
        "small-t2-fp32.onnx",
        "small-t8-fp32.onnx",
        "small-relu-t1-fp32.onnx",
    ]
    for row in document.rows:
        path = folder / row.file
        assert (row.status, row.sha256, row.size_bytes) == ("ok", sha256_of(path), path.stat().st_size)
        assert row.accuracy is not None
        assert row.accuracy.total == SAMPLES
        assert row.latency is not None
        assert row.latency.n == len(row.trace_ms)
        assert row.compute is not None
        assert row.compute.p50 <= row.latency.p50
        assert (row.device, row.cuda_graph, row.energy) == ("cpu", None, ())
        assert row.self_test is not None
        assert row.self_test.passed
    full = document.rows[2]
    assert full.accuracy is not None
    assert full.accuracy.correct == SAMPLES
    assert full.recommended
    assert full.twin == "small-relu-t1-fp32.onnx"
    assert [row.accuracy_as_trained for row in document.rows[:3]] == [None, None, True]
    assert ("latency", 1.0) in stages
    assert [stage for stage, _ in stages] == sorted(
        (stage for stage, _ in stages), key=["accuracy", "latency", "layers"].index
    )
    assert ("accuracy", 1.0) in stages


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_it_is_written_with_its_method_and_device_state(folder: Path, backend: str) -> None:
    document = measured(folder, threads=1, backend=backend)
    written = json.loads((folder.parent / "report" / "report.json").read_text(encoding="utf-8"))
    assert written == document.to_dict()
    jsonschema.validate(written, schema())
    assert [written["backends"][0][name] for name in ("name", "device", "threads")] == [backend, "cpu", 1]
    assert {row["backend"] for row in written["rows"]} == {backend}
    assert [row.recommended for row in document.rows] == [False, False, True, False]
    assert written["method"]
    assert written["machine"]["python"]
    assert len(written["device_state"]["during"]) >= 2


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_forms_targets_and_precisions_stand_side_by_side(
    build_spiking: BuildSpiking, tmp_path: Path, backend: str
) -> None:
    wanted: dict[str, Any] = {
        "samples": SAMPLES,
        "train_timesteps": 4,
        "accuracies": tuple(Accuracy(timesteps, SAMPLES, SAMPLES) for timesteps in (2, 4)),
    }
    build_spiking(form="static", timesteps=2, target="onnxruntime-cpu", **wanted)
    for form, timesteps in (("static", 2), ("static", 4), ("step", 4)):
        build_spiking(form=form, timesteps=timesteps, **wanted)
        built = build_spiking(
            form=form, timesteps=timesteps, precision=Precision("int8", "int8", "uint8", "float32"), **wanted
        )
    folder, evaluation = built.path.parent, built.manifest.evaluation
    document = measured(folder, threads=1, backend=backend)
    found = [(row.precision, row.form, row.target, row.timesteps) for row in document.rows]
    assert found == [
        ("fp32", "static", "generic", 2),
        ("fp32", "static", "generic", 4),
        ("fp32", "static", "onnxruntime-cpu", 2),
        ("fp32", "step", "generic", 4),
        ("int8", "static", "generic", 2),
        ("int8", "static", "generic", 4),
        ("int8", "step", "generic", 4),
    ]
    for row in document.rows:
        assert (row.status, row.evaluation) == ("ok", evaluation)
        assert row.accuracy is not None
        if row.timesteps == 4:
            as_trained = True if row.precision == "fp32" else None
            assert (row.accuracy.correct, row.accuracy_as_trained) == (SAMPLES, as_trained)
        foreign = any("lowered for onnxruntime-cpu and run by openvino" in warning for warning in row.warnings)
        assert foreign == (row.target == "onnxruntime-cpu" and backend == "openvino")
    assert [conclusion.precision for conclusion in document.conclusions] == ["fp32", "int8"]
    assert "A step graph ran all its timesteps" in " ".join(document.method)
    written = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(written, schema())
    assert [(row["form"], row["target"]) for row in written["rows"]] == [(form, target) for _, form, target, _ in found]


def test_cuda_graphs_where_there_are_none_and_a_device_that_does_not_exist_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="no CUDA graphs"):
        measured(folder, cuda_graph=True)
    with pytest.raises(InputError, match="unknown device"):
        measured(folder, device="cud")


def test_an_accuracy_that_is_not_the_recorded_one_is_flagged(build: Build, tmp_path: Path) -> None:
    build(samples=SAMPLES, accuracies=(Accuracy(2, 3, SAMPLES),))
    assert measured(tmp_path / "artifacts").rows[0].accuracy_as_trained is False


def test_without_an_evaluation_set_latency_is_measured_and_the_lack_is_said(build: Build, tmp_path: Path) -> None:
    build(evaluation=None)
    (row,) = measured(tmp_path / "artifacts").rows
    assert row.accuracy is None
    assert row.latency is not None
    assert any("no evaluation set" in warning for warning in row.warnings)


@pytest.mark.usefixtures("plotted")
def test_an_accuracy_that_was_only_recorded_is_never_shown_as_measured(build: Build, tmp_path: Path) -> None:
    """Neither in the row nor in the conclusion: the set that PyTorch took it on is not here."""
    spec = EvaluationSpec("digits", "test", 500, "d" * 64, None)
    recorded = (Accuracy(2, 437, 500), Accuracy(8, 443, 500))
    for timesteps in (2, 8):
        build(timesteps=timesteps, evaluation=spec, accuracies=recorded)
    build(name="small-relu", timesteps=1, evaluation=spec, accuracies=(Accuracy(1, 447, 500),), **TWIN)
    document = measured(tmp_path / "artifacts")
    cells = {column.key: column.cell for column in COLUMNS}
    for row in document.rows:
        assert row.latency is not None
        assert (row.accuracy, row.accuracy_as_trained, row.pareto, row.recommended) == (None, None, False, False)
        assert any("no evaluation set beside it" in warning for warning in row.warnings)
        assert (cells["accuracy"](row), cells["as_trained"](row)) == (NONE, NONE)
    (conclusion,) = document.conclusions
    assert conclusion.verdict == "none"
    assert "was not measured here" in " ".join(conclusion.sentences)
    report = tmp_path / "report"
    drawn = {path.stem for path in (report / "plots").iterdir()} - {"machine-state"}
    assert drawn == {"latency-timesteps", "latency-distribution"}
    for name in ("report.html", "report.md"):
        text = (report / name).read_text(encoding="utf-8")
        assert not [number for number in ("87.40", "88.60", "89.40") if number in text]
        assert "no evaluation set beside it" in text


@pytest.mark.usefixtures("plotted")
def test_a_failed_self_test_is_a_row_and_ends_the_command_with_1_after_everything_is_written(folder: Path) -> None:
    spoil_golden(folder)
    output = folder.parent / "report"
    code, stdout, stderr = invoke(folder, "--output", output)
    assert code == 1
    assert "small-t2-fp32.onnx" in stderr
    assert "failed to run" in stdout
    written = json.loads((output / "report.json").read_text(encoding="utf-8"))
    failed = written["rows"][1]
    assert (failed["status"], failed["latency"], failed["accuracy"]) == ("failed to run", None, None)
    assert "self-test failed" in failed["reason"]
    assert [row["status"] for row in written["rows"]] == ["ok", "failed to run", "ok", "ok"]
    assert all((output / name).exists() for name in FILES)


def test_a_graph_for_another_engine_that_fails_is_told_from_a_damaged_one(build: Build, tmp_path: Path) -> None:
    build(target="openvino")
    folder = tmp_path / "artifacts"
    spoil_golden(folder)
    code, stdout, stderr = invoke(folder, "--output", tmp_path / "report")
    assert code == 1
    assert "it was lowered for openvino and run by onnxruntime" in " ".join(stdout.split())
    assert "Give the --backend that it was lowered for." in stderr
    code, _, stderr = invoke(folder, "--output", tmp_path / "report", "--backend", "openvino")
    assert code == 1
    assert "Copy or export it again." in stderr


def test_the_command_prints_one_json_document_without_traces(folder: Path) -> None:
    output = folder.parent / "my report"
    code, stdout, stderr = invoke(folder, "--output", output, "--threads", 1, "--json")
    assert code == 0, stderr
    document = json.loads(stdout)
    jsonschema.validate(document, schema())
    assert document["rows"][0]["traces"] is None
    assert document["command"].endswith(
        f"report {folder} --output '{output}' --preset quick --backend onnxruntime --threads 1"
    )
    assert "written:" in stderr


def test_the_command_ends_with_what_it_wrote_and_the_next_one(folder: Path) -> None:
    code, stdout, _ = invoke(folder, "--output", folder.parent / "report")
    assert code == 0
    for name in FILES:
        assert str(folder.parent / "report" / name) in stdout
    assert f"next: tks-edge run {folder / 'small-t8-fp32.onnx'} IMAGE" in stdout


def test_the_next_command_can_be_pasted_whatever_the_folder_is_called(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "my artifacts"
    build(folder=folder)
    code, stdout, _ = invoke(folder, "--output", tmp_path / "report")
    assert code == 0
    assert f"next: tks-edge run '{folder / 'small-t2-fp32.onnx'}' IMAGE" in stdout


def test_every_artifact_failing_is_reported_too(build: Build, tmp_path: Path) -> None:
    build()
    spoil_golden(tmp_path / "artifacts")
    document = measured(tmp_path / "artifacts")
    assert [row.status for row in document.rows] == [FAILED]
    assert document.conclusions[0].verdict == "none"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "quik"}, "Did you mean 'quick'"),
        ({"backend": "onnxruntim"}, "Did you mean 'onnxruntime'"),
        ({"backend": "openvin"}, "Did you mean 'openvino'"),
        ({"threads": 0}, "threads"),
    ],
)
def test_what_does_not_exist_is_refused(folder: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        measured(folder, **options)
    assert not (folder.parent / "report").exists()


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_an_output_that_is_a_file_is_refused_before_measuring(folder: Path, output: str) -> None:
    (folder.parent / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        building.report(folder, folder.parent / output)
    assert (folder.parent / "file").read_text() == "mine"


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(InputError, match=name):
            measured(tmp_path / name)


def test_a_damaged_artifact_or_evaluation_set_is_named(folder: Path) -> None:
    (folder / "shared.eval.npz").write_bytes(b"PK")
    document = measured(folder)
    assert {row.status for row in document.rows} == {"failed to run"}
    assert all("shared.eval.npz" in str(row.reason) for row in document.rows)
    artifact = folder / "small-t1-fp32.onnx"
    artifact.write_bytes(artifact.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"small-t1-fp32\.onnx"):
        measured(folder)
    code, _, stderr = invoke(folder)
    assert code == 2
    assert "Traceback" not in stderr


def test_artifacts_that_cannot_stand_together_are_refused_before_anything_is_measured(
    folder: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tks_edge_runtime.reporting.build.collect", lambda *_, **__: pytest.fail("measuring begins"))
    for timesteps, digit in ((4, "1"), (2, "2")):
        build(folder=folder, timesteps=timesteps, samples=SAMPLES, weights_sha256=digit * 64)
    with pytest.raises(InputError, match="come from two trainings"):
        building.report(folder, folder / "report")
    assert not (folder / "report").exists()
