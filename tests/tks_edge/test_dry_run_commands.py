"""`--dry-run` of the commands that train, export and send: said, checked like the real thing, and nothing is done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.tks_edge.short_training import short
from tks_edge.data import registry
from tks_edge.data.dataset import Dataset
from tks_edge.trainer import train

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture(scope="module")
def made(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and its artifacts, one of them of one timestep."""
    from tks_edge.cli import app

    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._OPENERS, "digits", lambda _: few)
        patch.chdir(folder)
        train(short(), folder / "runs/digits")
        options = ("--timesteps", "2", "--form", "static,step", "--verify-samples", "2")
        assert CliRunner().invoke(app, ["export", "runs/digits", *options]).exit_code == 0
    return folder


@pytest.fixture
def there(made: Path, in_folder: Path) -> Path:
    for name in ("runs", "artifacts"):
        shutil.copytree(made / name, in_folder / name)
    return in_folder


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, and what is in it."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def invoke(app: typer.Typer, line: str) -> Any:
    return CliRunner().invoke(app, line.split(), env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("line", "fates"),
    [
        ("train --epochs 1", {"runs/digits-2/config.json": "new"}),
        ("train --dataset dvs-cifar10 --download", {"data": "new"}),
        ("train --resume --output runs/digits", {"runs/digits/model.safetensors": "kept"}),
        ("train --overwrite --output runs/digits", {"runs/digits/model.safetensors": "replaced"}),
        (
            "export runs/digits --timesteps 1,2",
            {"artifacts/digits-t1-fp32.onnx": "new", "artifacts/digits-t2-fp32.onnx": "replaced"},
        ),
        ("sweep runs/digits --timesteps 2", {"sweep/artifacts/digits-t2-fp32-onnxruntime-cpu.onnx": "new"}),
        (
            "calibrate-exit artifacts/digits-step-fp32.onnx --run runs/digits",
            {"artifacts/digits-step-fp32.exit.json": "new"},
        ),
        ("bundle artifacts --output board.tar.gz", {"board.tar.gz": "new"}),
        ("deploy pi@board artifacts --report", {"report/report.json": "new"}),
        ("deploy pi@board --remove", {"pi@board:tks-edge": "removed"}),
        ("demo", {"demo/artifacts": "new"}),
    ],
)
def test_what_would_become_of_each_file_is_said_and_none_is_touched(
    line: str, fates: dict[str, str], app: typer.Typer, there: Path
) -> None:
    before = tree(there)
    result = invoke(app, f"{line} --dry-run --json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert fates.items() <= {one["path"]: one["fate"] for one in document["writes"]}.items()
    assert result.stderr.endswith("dry run: nothing was computed, written or sent.\n")
    assert tree(there) == before


def test_what_is_said_to_be_written_is_what_an_export_writes(app: typer.Typer, there: Path) -> None:
    line = "export runs/digits --timesteps 1,2 --output out --verify-samples 2"
    said = json.loads(invoke(app, f"{line} --dry-run --json").stdout)["writes"]
    assert invoke(app, line).exit_code == 0
    written = [path for path in Path("out").iterdir() if not path.name.endswith(".eval.npz")]
    assert {one["path"] for one in said if not one["path"].endswith(".eval.npz")} == set(map(str, written))


def test_every_file_that_would_be_sent_is_named_with_its_size(app: typer.Typer, there: Path) -> None:
    sends = json.loads(invoke(app, "deploy pi@board artifacts --dry-run --json").stdout)["sends"]
    sizes = {f"artifacts/{path.name}": path.stat().st_size for path in Path("artifacts").iterdir()}
    assert sizes.items() <= {one["path"]: one["bytes"] for one in sends}.items()
    assert {one["host"] for one in sends} == {"pi@board:tks-edge"}


@pytest.mark.parametrize(
    "line",
    [
        "train --output runs/digits",
        "train --epochs 0",
        "train --download --lif-kernel torch",
        "export runs/digits --name a/b",
        "export runs/digits --input-dtype unit8",
        "calibrate-exit artifacts/digits-t2-fp32.onnx --run runs/digits",
        "bundle artifacts --output board.zip",
        "bundle artifacts --output board.tar.gz --extras onnxrutime",
        "deploy pi@board artifacts --python 2.7",
    ],
)
def test_wrong_use_gets_the_error_of_the_real_run(line: str, app: typer.Typer, there: Path) -> None:
    before = tree(there)
    dry, real = invoke(app, f"{line} --dry-run"), invoke(app, line)
    assert (dry.exit_code, dry.stderr) == (real.exit_code, real.stderr) == (2, dry.stderr)
    assert dry.stderr.startswith("error: ")
    assert tree(there) == before
