"""`tks-edge sweep` as a user meets it: what it exports, what it keeps, what fails, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tests.few_plots import DRAW, few_plots
from tests.tks_edge.short_training import short
from tks_edge.checkpoint import load_run
from tks_edge.commands.sweep_exports import with_twin
from tks_edge.data import registry
from tks_edge.data.dataset import Dataset
from tks_edge.trainer import train
from tks_edge_export import Exporter, ExportError, Options
from tks_edge_runtime import presets
from tks_edge_runtime.command import Output

pytestmark = pytest.mark.usefixtures("few_digits")

FEW = ("--verify-samples", "4", "--threads", "1")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "quick", 0.02)
    monkeypatch.setattr(DRAW, few_plots)


@pytest.fixture(scope="module")
def trained(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and its ReLU twin."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._OPENERS, "digits", lambda _: few)
        train(short(epochs=1), folder / "digits")
        train(short(epochs=1, neuron="relu", timesteps=1), folder / "digits-relu")
    return folder


@pytest.fixture
def runs(trained: Path, in_folder: Path) -> Path:
    """The runs in a working directory of its own."""
    shutil.copytree(trained, in_folder / "runs")
    return in_folder


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["sweep", *arguments], env={"COLUMNS": "200"})


def test_every_t_precision_and_engine_is_exported_and_measured_with_the_twin(app: typer.Typer, runs: Path) -> None:
    wanted = ("--timesteps", "1-2", "--precision", "fp32,int8", "--backend", "onnxruntime,openvino")
    result = invoke(app, "runs/digits", *wanted, *FEW, "--min-accuracy", "1%", "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["rows"]
    assert len(rows) == (2 + 1) * 2 * 2
    assert {row["status"] for row in rows} == {"ok"}
    assert {(row["backend"], row["target"]) for row in rows} == {
        ("onnxruntime", "onnxruntime-cpu"),
        ("openvino", "openvino"),
    }
    assert {row["ratio_to_twin"] is not None for row in rows if not row["is_twin"]} == {True}
    assert "with the ReLU twin" in result.stderr
    again = invoke(app, "runs/digits", *wanted, *FEW, "--json")
    assert again.exit_code == 0, again.stderr
    assert "12 of 12 rows are measured already; nothing to measure" in again.stderr
    more = invoke(app, "runs/digits", *wanted[2:], "--timesteps", "1-3", *FEW, "--json")
    assert "12 of 16 rows are measured already; measuring 5 in 1 turn" in more.stderr


def test_a_neighbour_that_cannot_be_read_stands_in_no_sweeps_way(app: typer.Typer, runs: Path) -> None:
    for name in ("newer", "damaged"):
        shutil.copytree("runs/digits-relu", f"runs/{name}")
    config = Path("runs/newer/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"schema_version": 99}))
    Path("runs/damaged/config.json").write_bytes(Path("runs/digits/config.json").read_bytes())
    Path("runs/damaged/model.safetensors").write_bytes(b"")
    out = Output(Console(record=True, width=200), as_json=False)
    swept = with_twin([load_run(Path("runs/digits"))], out)
    assert [run.name for run in swept] == ["digits", "digits-relu"]


def test_what_cannot_be_exported_is_a_row_with_its_reason(
    app: typer.Typer, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Exporter.write

    def refusing(self: Exporter, options: Options, *given: Any, **more: Any) -> Any:
        if options.precision == "int8" and options.timesteps == 2:
            raise ExportError("int8 is refused here.")
        return write(self, options, *given, **more)

    monkeypatch.setattr(Exporter, "write", refusing)
    result = invoke(app, "runs/digits", "--timesteps", "1,2", "--precision", "fp32,int8", *FEW, "--json")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)["rows"]
    failed = [row for row in rows if row["status"] == "failed to export"]
    assert [(row["timesteps"], row["precision"], row["reason"]) for row in failed] == [
        (2, "int8", "int8 is refused here.")
    ]
    assert sum(row["status"] == "ok" for row in rows) == 5
    monkeypatch.setattr(Exporter, "write", write)
    mended = invoke(app, "runs/digits", "--timesteps", "1,2", "--precision", "fp32,int8", *FEW)
    assert mended.exit_code == 0, mended.stderr


def test_another_size_of_the_evaluation_set_is_exported_again_and_an_older_file_never_stands_in(
    app: typer.Typer, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("runs/digits", "--timesteps", "1,2", *FEW, "--json")
    first = invoke(app, *asked)
    assert {row["evaluation"]["samples"] for row in json.loads(first.stdout)["rows"]} == {30}
    write = Exporter.write

    def refusing(self: Exporter, options: Options, *given: Any, **more: Any) -> Any:
        if options.timesteps == 2:
            raise ExportError("T=2 is refused here.")
        return write(self, options, *given, **more)

    monkeypatch.setattr(Exporter, "write", refusing)
    smaller = invoke(app, *asked, "--eval-samples", "6")
    assert smaller.stdout, (smaller.stderr, smaller.exception)
    rows = json.loads(smaller.stdout)["rows"]
    assert [(row["timesteps"], row["status"]) for row in rows if row["status"] != "ok"] == [(2, "failed to export")]
    assert {row["evaluation"]["samples"] for row in rows if row["status"] == "ok"} == {6}
    assert len(rows) == 3


def test_another_training_does_not_replace_what_was_swept(app: typer.Typer, runs: Path) -> None:
    assert invoke(app, "runs/digits", "--timesteps", "1", *FEW).exit_code == 0
    before = {path: path.read_bytes() for path in Path("sweep").rglob("*") if path.is_file()}
    shutil.rmtree("runs/digits")
    train(short(epochs=1, seed=7), Path("runs/digits"))
    result = invoke(app, "runs/digits", "--timesteps", "1", *FEW)
    assert result.exit_code == 2
    assert "was exported from another training than runs/digits" in result.stderr.replace("\n", " ")
    assert before == {path: path.read_bytes() for path in Path("sweep").rglob("*") if path.is_file()}


def test_runs_on_other_data_or_of_one_name_do_not_stand_in_one_report(app: typer.Typer, runs: Path) -> None:
    shutil.copytree("runs/digits", "other/digits")
    result = invoke(app, "runs/digits", "other/digits", *FEW)
    assert result.exit_code == 2
    assert "have one name, digits" in result.stderr.replace("\n", " ")
    config = json.loads(Path("runs/digits-relu/config.json").read_text())
    config["dataset"]["splits"]["test"]["sha256"] = "0" * 64
    Path("runs/digits-relu/config.json").write_text(json.dumps(config))
    result = invoke(app, "runs/digits", "runs/digits-relu", *FEW)
    assert result.exit_code == 2
    assert "their accuracies do not compare" in result.stderr.replace("\n", " ")
    alone = invoke(app, "runs/digits", "--timesteps", "1", *FEW)
    assert alone.exit_code == 0, alone.stderr
    assert "no ReLU twin of digits lies beside it" in alone.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--timesteps", "0"], "timesteps"),
        (["--precision", "int4"], "unknown precision"),
        (["--backend", "onnx"], "unknown backend"),
        (["--preset", "fast"], "unknown preset"),
        (["--max-latency", "5"], "without a unit"),
        (["--cuda-graph"], "no CUDA graphs"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_written(
    app: typer.Typer, runs: Path, options: list[str], words: str
) -> None:
    result = invoke(app, "runs/digits", *options, *FEW)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert not Path("sweep/turns").exists()
