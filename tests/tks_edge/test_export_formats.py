"""`tks-edge export --format trt` and `torch-trt`, on a machine that can build and on one that cannot."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.export.fake_torch_tensorrt import FAKE_GPU, install
from tests.tks_edge.fake_engine_build import MODULE, PLAN, FakeBuildOptions, FakeEngineBuild
from tests.tks_edge.short_training import short
from tks_edge.data import registry
from tks_edge.data.dataset import Dataset
from tks_edge.trainer import train
from tks_edge_runtime.artifact import Artifact
from tks_edge_runtime.errors import CheckError, MissingError

pytestmark = pytest.mark.usefixtures("few_digits")

FEW = ("--verify-samples", "4")
STEM = "digits-t2-fp32-tensorrt"
LACKS = "TensorRT is not installed here (No module named 'tensorrt'). Install it: pip install tensorrt."


@pytest.fixture(scope="module")
def trained(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a short training."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._OPENERS, "digits", lambda _: few)
        train(short(), folder / "digits")
    return folder


@pytest.fixture
def runs(trained: Path, in_folder: Path) -> Path:
    """The run in a working directory of its own."""
    shutil.copytree(trained, in_folder / "runs")
    return in_folder


@pytest.fixture
def can_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngineBuild:
    """A machine that builds engines."""
    fake = FakeEngineBuild(tmp_path / "cache")
    monkeypatch.setitem(sys.modules, MODULE, fake.module())
    return fake


@pytest.fixture
def cannot_build(can_build: FakeEngineBuild) -> FakeEngineBuild:
    """A machine that lacks TensorRT."""
    can_build.missing = MissingError(LACKS)
    return can_build


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_an_engine_is_built_and_laid_beside_its_graph(app: typer.Typer, runs: Path, can_build: FakeEngineBuild) -> None:
    can_build.notes = ("1 tactic was skipped: it needs 3 GB.",)
    result = invoke(app, "export", "--timesteps", "2", "--format", "trt", *FEW)
    assert result.exit_code == 0, result.stderr
    graph = Path(f"artifacts/{STEM}.onnx")
    assert Artifact.open(graph).manifest.target == "tensorrt"
    assert graph.with_suffix(".engine").read_bytes() == PLAN + STEM.encode()
    assert json.loads(graph.with_suffix(".json").read_text())["key"] == "0123"
    assert can_build.built == {graph.name: FakeBuildOptions(low_memory=False)}
    assert f"artifacts/{STEM}.engine  built in 12.5 s; layers: 9 fp32; golden logits within 2.0e-07" in result.stdout
    assert "1 tactic was skipped: it needs 3 GB." in result.stdout
    assert "scp" not in result.stdout


def test_every_graph_gets_its_engine(app: typer.Typer, runs: Path, can_build: FakeEngineBuild) -> None:
    wanted = ("--timesteps", "1,2", "--precision", "fp16,int8", "--format", "trt", "--low-memory")
    result = invoke(app, "export", "runs/digits", *wanted, *FEW, "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["artifacts"]
    stems = [f"digits-t{t}-{precision}-tensorrt" for precision in ("fp16", "int8") for t in (1, 2)]
    assert [row["file"] for row in rows] == [f"artifacts/{stem}.onnx" for stem in stems]
    assert [row["engine"]["path"] for row in rows] == [f"artifacts/{stem}.engine" for stem in stems]
    assert can_build.built == {f"{stem}.onnx": FakeBuildOptions(low_memory=True) for stem in stems}
    for row in rows:
        assert row["engine_missing"] is None
        assert row["build_command"] == f"tks-edge-runtime build {Path(row['file']).name}"
        assert row["engine"]["golden"]["max_difference"] <= row["engine"]["golden"]["tolerance"]
        assert Path(row["engine"]["path"]).stat().st_size == row["engine"]["bytes"]


def test_an_engine_that_fails_its_check_gets_no_name(app: typer.Typer, runs: Path, can_build: FakeEngineBuild) -> None:
    can_build.fault = CheckError("the engine computes 3 layers in fp16; the artifact promises fp32.")
    result = invoke(app, "export", "runs/digits", "--timesteps", "2", "--format", "trt", *FEW)
    assert result.exit_code == 1
    assert "computes 3 layers in fp16" in result.stderr
    assert {path.suffix for path in Path("artifacts").iterdir()} == {".onnx", ".npz"}


def test_where_none_can_be_built_the_graph_is_written_and_the_commands_are_printed(
    app: typer.Typer, runs: Path, cannot_build: FakeEngineBuild
) -> None:
    result = invoke(app, "export", "runs/digits", "--timesteps", "1,2", "--format", "trt", *FEW)
    assert result.exit_code == 0, result.stderr
    (said,) = [line for line in result.stdout.splitlines() if line.startswith("No engine was built here: ")]
    assert LACKS in said
    assert "written and verified" in said
    copy, *build = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    program, *files, board = shlex.split(copy)
    assert (program, board) == ("scp", "USER@BOARD:")
    there = {str(path) for path in Path("artifacts").iterdir()}
    assert set(files) == there
    assert len(files) == len(there) == 5  # two graphs, two golden pairs, one evaluation set
    assert [line.strip() for line in build] == [
        f"tks-edge-runtime build digits-t{t}-fp32-tensorrt.onnx" for t in (1, 2)
    ]
    for graph in Path("artifacts").glob("*.onnx"):
        assert invoke(app, "verify", str(graph), "--against", "runs/digits", "--samples", "4").exit_code == 0


def test_an_engine_that_is_required_and_cannot_be_built_is_an_error(
    app: typer.Typer, runs: Path, cannot_build: FakeEngineBuild
) -> None:
    wanted = ("--timesteps", "2", "--format", "trt", "--require-engine", "--json")
    result = invoke(app, "export", "runs/digits", *wanted, *FEW)
    assert result.exit_code == 3
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: no engine can be built here, and --require-engine asks for one: ")
    assert LACKS in error
    assert "The ONNX file is written and verified" in error
    assert f"  tks-edge-runtime build {STEM}.onnx" in result.stderr
    (row,) = json.loads(result.stdout)["artifacts"]
    assert (row["engine"], row["engine_missing"]) == (None, LACKS)
    assert row["build_command"] == f"tks-edge-runtime build {STEM}.onnx"
    assert Artifact.open(row["file"]).golden()


def test_an_engine_of_an_earlier_graph_is_pointed_out(
    app: typer.Typer, runs: Path, cannot_build: FakeEngineBuild
) -> None:
    Path("artifacts").mkdir()
    Path(f"artifacts/{STEM}.engine").write_bytes(PLAN)
    result = invoke(app, "export", "runs/digits", "--timesteps", "2", "--format", "trt", *FEW)
    assert f"warning: artifacts/{STEM}.engine is of an earlier {STEM}.onnx" in result.stdout, result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--format trtt", "unknown format 'trtt'. Did you mean 'trt'? Allowed: nir, onnx, torch-trt, trt."),
        ("--require-engine", "--require-engine changes nothing: it is of engines that are built here"),
        ("--format torch-trt --low-memory", "--low-memory changes nothing: it is of engines that are built here"),
        ("--format trt --target openvino", "--format trt lowers for tensorrt, which builds the engine"),
        ("--format torch-trt --target tensorrt", "--target changes nothing: --format torch-trt compiles the PyTorch"),
        ("--format torch-trt --precision fp32,int8", "--precision is fp32,int8, but --format torch-trt compiles"),
        ("--format torch-trt --form step", "--form is step, but --format torch-trt compiles"),
        ("--format torch-trt --per-step", "--per-step changes nothing: it is of ONNX graphs"),
        ("--format torch-trt --skip-pass fold_readout", "--skip-pass changes nothing: it is of ONNX graphs"),
    ],
)
def test_options_of_another_format_are_refused(
    arguments: str, said: str, app: typer.Typer, runs: Path, can_build: FakeEngineBuild
) -> None:
    result = invoke(app, "export", "runs/digits", *arguments.split())
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert {path.name for path in runs.iterdir()} == {"runs"}


def test_the_target_may_be_named_where_it_is_the_one(app: typer.Typer, runs: Path, can_build: FakeEngineBuild) -> None:
    wanted = ("--timesteps", "2", "--format", "trt", "--target", "tensorrt")
    assert invoke(app, "export", "runs/digits", *wanted, *FEW).exit_code == 0
    assert list(can_build.built) == [f"{STEM}.onnx"]


def test_a_program_is_compiled_for_each_t(app: typer.Typer, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = install(monkeypatch)
    monkeypatch.setattr("tks_edge_export.torch_tensorrt.require", lambda: FAKE_GPU)
    wanted = ("--timesteps", "1,2", "--format", "torch-trt")
    result = invoke(app, "export", "runs/digits", *wanted, *FEW, "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["artifacts"]
    assert [row["file"] for row in rows] == [f"artifacts/digits-t{t}-fp32-torch-trt.pt2" for t in (1, 2)]
    assert library.compiled == 2
    for row in rows:
        assert row["verified_samples"] == row["agreeing"] == row["logits_within_tolerance"] == 4
        document = json.loads(Path(row["sidecar"]).read_text())
        assert document["classes"] == [str(digit) for digit in range(10)]
        assert Path("artifacts", document["evaluation"]["file"]).is_file()
    assert "for FakeGPU alone" in result.stderr
    assert "spikes cannot be read in it" in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_a_program_is_refused_before_anything_is_computed(
    app: typer.Typer, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    monkeypatch.setattr("tks_edge_export.torch_tensorrt.find_spec", lambda name: object())
    result = invoke(app, "export", "runs/digits", "--timesteps", "2", "--format", "torch-trt")
    assert result.exit_code == 3, result.output
    assert "error: --format torch-trt compiles on the GPU that will run the program, and cannot here: " in result.stderr
    assert "--format trt writes a file that a device without PyTorch can build from." in result.stderr
    assert {path.name for path in runs.iterdir()} == {"runs"}
