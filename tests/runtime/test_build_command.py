"""The command `build`, with a fake GPU and without any."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.runtime.conftest import Build
from tests.runtime.fake_gpu import FakeGpu
from tks_edge_runtime import cli
from tks_edge_runtime.presets import PRESETS


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_the_command_builds_and_says_what(gpu: FakeGpu, build: Build) -> None:
    one, two = build(name="one").path, build(name="two").path
    result = invoke("build", one, two)
    assert result.exit_code == 0, result.output
    assert result.stdout.count(": built and checked in ") == 2
    assert "layers: 3 fp32, 1 other" in result.stdout
    for engine in gpu.engines():
        assert str(engine) in result.stdout
    assert result.stdout.endswith(f"next: tks-edge profile {one} --backend tensorrt\n")
    document = json.loads(invoke("build", one, two, "--json").stdout)
    assert [(entry["artifact"], entry["reused"]) for entry in document["engines"]] == [
        (str(one), True),
        (str(two), True),
    ]
    assert [Path(entry["engine"]) for entry in document["engines"]] == gpu.engines()
    assert not json.loads(invoke("build", one, "--force", "--json").stdout)["engines"][0]["reused"]


def test_the_command_passes_its_options_on_and_shows_notes(gpu: FakeGpu, build: Build) -> None:
    built = build()
    built.path.with_name(built.manifest.golden_file).unlink()
    result = invoke("build", built.path, "--low-memory", "--workspace", "3 MiB")
    assert result.exit_code == 0, result.output
    assert (gpu.config.limits, gpu.config.max_aux_streams) == ({"WORKSPACE": 3 << 20}, 0)
    assert "warning: small-t2-fp32.golden.npz is not beside small-t2-fp32.onnx" in result.stdout


@pytest.mark.parametrize(("text", "size"), [("1048576", 1 << 20), ("512MiB", 512 << 20), ("2gb", 2 * 10**9)])
def test_sizes_have_units(gpu: FakeGpu, build: Build, text: str, size: int) -> None:
    assert invoke("build", build().path, "--workspace", text).exit_code == 0
    assert gpu.config.limits == {"WORKSPACE": size}


@pytest.mark.parametrize("text", ["much", "-1MiB", "1.5GiB", "3 apples", ""])
def test_what_is_no_size_is_refused(gpu: FakeGpu, build: Build, text: str) -> None:
    result = invoke("build", build().path, f"--workspace={text}")
    assert result.exit_code == 2
    assert f"error: {text!r} is no size. Allowed are" in result.stderr


@pytest.mark.parametrize("command", ["build", "profile", "run", "report"])
def test_without_tensorrt_every_command_ends_with_3_and_leaves_nothing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setenv("TKS_EDGE_CACHE", str(tmp_path / "cache"))
    path = build().path
    before = set(tmp_path.rglob("*"))
    arguments: dict[str, list[object]] = {
        "run": [path, tmp_path / "image.png"],
        "report": [path.parent, "--output", tmp_path / "report"],
    }
    backend = [] if command == "build" else ["--backend", "tensorrt"]
    result = invoke(command, *arguments.get(command, [path]), *backend)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("error: TensorRT is not installed here")
    assert "Install it: pip install tensorrt" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert set(tmp_path.rglob("*")) == before


def test_profile_and_report_run_on_the_engine(
    gpu: FakeGpu, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    path = build().path
    document = json.loads(invoke("profile", path, "--backend", "tensorrt", "--json").stdout)
    assert document["engine"]["library"] == "tensorrt"
    result = invoke("report", path.parent, "--output", tmp_path / "report", "--backend", "tensorrt")
    assert result.exit_code == 0, result.output
    assert gpu.trt.builds == 1
