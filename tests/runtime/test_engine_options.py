"""`--backend`, `--device` and `--cuda-graph` of the commands that run a graph: what is chosen, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import CPU_BACKENDS, Build
from tks_edge_runtime.artifact import Precision
from tks_edge_runtime.presets import PRESETS


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_missing_library_ends_with_3(
    build: Build, image: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    path = build().path
    monkeypatch.setitem(sys.modules, backend, None)
    fails(invoke("run", path, image, "--backend", backend), 3, f"pip install {backend}")


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_ends_with_3_and_what_helps(
    build: Build, image: Path, tmp_path: Path, no_gpu: None, device: str
) -> None:
    path = build().path
    words = (f"cannot compute on the device {device} here: there is no NVIDIA driver", "install its driver")
    fails(invoke("run", path, image, "--device", device), 3, *words)
    fails(invoke("profile", path, "--device", device, "--cuda-graph"), 3, *words)
    fails(invoke("report", path.parent, "--device", device, "--output", tmp_path / "report"), 3, *words)
    assert not (tmp_path / "report").exists()


def test_devices_and_cuda_graphs_that_do_not_exist_end_with_2(build: Build, image: Path) -> None:
    path = build().path
    fails(invoke("run", path, image, "--device", "gpu"), 2, "unknown device of the backend onnxruntime 'gpu'")
    fails(invoke("run", path, image, "--cuda-graph"), 2, "no CUDA graphs on the device cpu", "--device cuda")
    fails(invoke("run", path, image, "--backend", "auto", "--device", "npu"), 2, "unknown device 'npu'")


INT8 = Precision("int8", "int8", "int8", "float32")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "backend: onnxruntime on cpu, since no NVIDIA GPU can be used here"),
        ({"precision": INT8}, "backend: openvino on cpu, since no NVIDIA GPU can be used here, and ONNX Runtime"),
        ({"target": "openvino"}, "backend: openvino on cpu, since the graph is lowered for openvino"),
    ],
)
def test_auto_chooses_and_says_what_and_why(
    build: Build, image: Path, monkeypatch: pytest.MonkeyPatch, no_gpu: None, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    path = build(**changes).path
    backend = words.split()[1]
    assert invoke("run", path, image, "--backend", "auto").stdout.startswith(words)
    found = document(invoke("run", path, image, "--backend", "auto", "--json"))
    assert (found["backend"], found["choice"]["backend"], found["choice"]["device"]) == (backend, backend, "cpu")
    assert f"since {found['choice']['reason']}" in invoke("run", path, image, "--backend", "auto").stdout
    found = document(invoke("profile", path, "--backend", "auto", "--json"))
    assert (found["engine"]["library"], found["choice"]["backend"]) == (backend, backend)


def test_what_auto_cannot_have_ends_with_3(build: Build, image: Path, no_gpu: None) -> None:
    path = build().path
    fails(
        invoke("run", path, image, "--backend", "auto", "--device", "cuda"), 3, "with the device cuda, cannot be met."
    )
    fails(invoke("run", path, image, "--backend", "auto", "--cuda-graph"), 3, "CUDA graphs", "no NVIDIA driver")


def test_one_backend_runs_a_folder_or_the_options_are_named(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_gpu: None
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    build(timesteps=1)
    folder = build(timesteps=2, target="openvino").path.parent
    output = tmp_path / "report"
    found = document(invoke("report", folder, "--output", output, "--backend", "auto", "--device", "cpu", "--json"))
    assert [(one["name"], one["device"]) for one in found["backends"]] == [("openvino", "cpu")]
    assert found["command"].endswith("--preset quick --backend auto --device cpu")
    chosen = "backend: openvino on cpu, since the graph is lowered for openvino."
    assert found["method"][0] == chosen
    assert chosen in (output / "report.html").read_text(encoding="utf-8")
    build(timesteps=4, target="onnxruntime-cpu")
    fails(
        invoke("report", folder, "--output", output, "--backend", "auto"),
        2,
        "lowered for different engines",
        "--backend openvino",
        "--backend onnxruntime",
    )
