"""The GPU check, on what every machine has: the whole run on the CPU, and what it says where there is no GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.gpu_networks import Material
from tests.runtime.conftest import Build, build
from tks_edge_runtime import machine
from tks_edge_runtime.artifact import Artifact

__all__ = ["build"]


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver, whatever this one has."""
    monkeypatch.setattr(machine, "nvidia_driver", lambda *_: None)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "bench" / "gpu-check.json"


def check(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", *map(str, arguments)])
    return gpu_check.main()


def rows(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output.read_text(encoding="utf-8"))["rows"]
    return found


def test_without_a_gpu_it_says_so_and_names_the_benchmark_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(monkeypatch, "--quick", "--output", output) == 3
    written = capsys.readouterr()
    assert written.err.count("\n") == 1
    assert "this machine has no NVIDIA GPU" in written.err
    assert "python -m benchmarks.latency --quick" in written.err
    assert not output.exists()


def test_the_whole_run_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backends = "onnxruntime:cpu,torch:cpu,onnxruntime:cuda"
    options = ("--network", "tiny@16", "--timesteps", "2", "--seconds", "0.02", "--output", output)
    assert check(monkeypatch, "--backends", backends, *options) == 0
    found = json.loads(output.read_text(encoding="utf-8"))
    assert list(found["missing"]) == ["onnxruntime:cuda"]
    assert {"created", "driver", "gpus", "machine", "versions", "command"} <= set(found)
    by_engine = {
        engine: [row for row in found["rows"] if row["backend"] == engine] for engine in ("onnxruntime", "torch")
    }
    assert len(by_engine["onnxruntime"]) == 2 * 3
    assert len(by_engine["torch"]) == 2
    for row in found["rows"]:
        assert (row["status"], row["problem"], row["cuda_graph"]) == ("ok", None, False)
        assert 0 <= row["difference"] <= row["tolerance"]
        # Medians of runs of their own, so that neither bounds the other on a busy machine.
        assert row["compute_ms"] > 0
        assert row["e2e_ms"] > 0
        assert row["runs"] > 0
        assert row["ratio"] > 0
        if row["is_twin"] and row["precision"] == "fp32":
            assert (row["ratio"], row["compute_ratio"]) == (1, 1)
    printed = capsys.readouterr().out
    assert printed.count("\n| onnxruntime:cpu | off | tiny") == 6
    assert "not run: onnxruntime:cuda: the backend onnxruntime cannot compute on the device cuda here" in printed


def test_a_wrong_golden_pair_and_a_damaged_graph_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, output: Path, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong, refused = build(timesteps=1), build(timesteps=2), build(timesteps=4)
    build(name="other", timesteps=1, target="openvino")
    folder = right.path.parent
    golden = folder / wrong.manifest.golden_file
    with np.load(golden) as pair:
        np.savez(golden, input=pair["input"], logits=pair["logits"] + 1)
    (folder / refused.manifest.golden_file).unlink()
    options = ("--artifacts", folder, "--seconds", "0.02", "--output", output)
    assert check(monkeypatch, "--backends", "onnxruntime:cpu,torch:cpu", *options) == 1
    assert [(row["timesteps"], row["status"]) for row in rows(output)] == [(1, "ok"), (2, "wrong"), (4, "not run")]
    assert "is missing" in rows(output)[2]["problem"]
    written = capsys.readouterr()
    assert "error: the logits of the golden input are wrong: small-t2-fp32.onnx in onnxruntime:cpu" in written.err
    assert "not run: torch:cpu: none of these artifacts is for it" in written.out


def test_each_engine_gets_the_graphs_of_its_target_with_and_without_cuda_graphs(build: Build, tmp_path: Path) -> None:
    artifacts = tuple(
        Artifact.open(build(folder=tmp_path / target, target=target, timesteps=t).path)
        for target in ("generic", "tensorrt")
        for t in (1, 2)
    )
    material = Material(artifacts, network="tiny@16")
    for place, target, cuda_graphs in (
        (("onnxruntime", "tensorrt"), "tensorrt", (False, True)),
        (("onnxruntime", "cuda"), "generic", (False, True)),
        (("onnxruntime", "cpu"), "generic", (False,)),
        (("torch", "cuda"), "generic", (False, True)),
    ):
        jobs = gpu_check._jobs(place, material, 1.0)
        assert [job.cuda_graphs for job in jobs] == [cuda_graphs] * 2
        assert [Path(file).parent.name for job in jobs for file in job.files] == [target] * 2


@pytest.mark.parametrize(
    ("backends", "words"),
    [
        ("torch:tpu", "PyTorch runs as torch:cuda or torch:cpu"),
        ("onnx:cpu", "unknown backend 'onnx'. Did you mean 'onnxruntime'?"),
        ("openvino:cuda", "unknown device of the backend openvino 'cuda'"),
    ],
)
def test_engines_that_do_not_exist_are_refused(
    monkeypatch: pytest.MonkeyPatch, output: Path, capsys: pytest.CaptureFixture[str], backends: str, words: str
) -> None:
    assert check(monkeypatch, "--backends", backends, "--output", output) == 2
    assert words in capsys.readouterr().err
