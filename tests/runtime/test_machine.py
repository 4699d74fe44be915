"""Which kind of machine this is, and the advice that fits it, on recorded roots."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from tests.runtime.recorded import record
from tks_edge_runtime import machine

JETSON = {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3\n"}
ORIN = {"proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"}
DRIVER = {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1\nGCC version: 12\n"}


@pytest.mark.parametrize(("processor", "kind"), [("x86_64", "x86-64"), ("aarch64", "arm"), ("arm64", "arm")])
def test_a_pc_is_told_by_its_processor_and_a_jetson_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: str, kind: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: processor)
    assert machine.kind(tmp_path) == kind
    for index, files in enumerate((JETSON, ORIN)):
        assert machine.kind(record(tmp_path / str(index), files)) == "jetson"
    assert machine.kind(record(tmp_path / "pi", {"proc/device-tree/compatible": "raspberrypi,5\0"})) == kind


def test_a_driver_is_named_by_its_version_or_by_its_device(tmp_path: Path) -> None:
    assert machine.nvidia_driver(tmp_path) is None
    assert str(machine.nvidia_driver(record(tmp_path / "pc", DRIVER))).endswith("580.1")
    assert machine.nvidia_driver(record(tmp_path / "orin", {"dev/nvhost-gpu": ""})) == "/dev/nvhost-gpu"


def venv(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: str | None) -> None:
    """Let this Python seem to run in a virtual environment, or outside one."""
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "prefix", "/usr" if settings is None else str(folder))
    if settings is not None:
        (folder / "pyvenv.cfg").write_text(settings)


def test_outside_a_virtual_environment_pip_is_that_of_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv(tmp_path, monkeypatch, None)
    assert machine.pip("install x") == f"{sys.executable} -m pip install x"
    venv(tmp_path, monkeypatch, "")
    assert machine.pip("install x") == "pip install x"


@pytest.mark.parametrize(
    ("settings", "sees"),
    [
        (None, True),
        ("include-system-site-packages = true\nversion = 3.10\n", True),
        ("include-system-site-packages = false\n", False),
        ("version = 3.10\n", False),
    ],
)
def test_an_environment_that_hides_jetpacks_tensorrt_is_to_be_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str | None, sees: bool
) -> None:
    venv(tmp_path, monkeypatch, settings)
    root = record(tmp_path / "jetson", JETSON)
    assert machine.sees_system_packages() == sees
    assert "sudo apt install nvidia-jetpack python3-libnvinfer" in machine.tensorrt_advice(root)
    (root / "usr/lib/python3.10/dist-packages/tensorrt").mkdir(parents=True)
    assert ("--system-site-packages" in machine.tensorrt_advice(root)) != sees


@pytest.mark.parametrize(
    ("library", "on_pc", "on_jetson"),
    [
        ("libcuda.so.1", "ubuntu-drivers install", "part of JetPack"),
        ("libcudart.so.13", "pip install 'onnxruntime-gpu[cuda,cudnn]'", "apt install nvidia-jetpack"),
        ("libcudnn.so.9", "pip install 'onnxruntime-gpu[cuda,cudnn]'", "apt install nvidia-jetpack"),
        ("libnvinfer.so.10", "pip install 'tensorrt==10.*'", "python3-libnvinfer"),
        ("libnvonnxparser.so.11", "pip install 'tensorrt==11.*'", "python3-libnvinfer"),
    ],
)
def test_a_missing_library_has_advice_of_its_own_on_each_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, on_pc: str, on_jetson: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert on_pc in machine.cuda_advice(library, tmp_path)
    assert on_jetson in machine.cuda_advice(library, record(tmp_path / "jetson", JETSON))


def test_a_gpu_for_openvino_depends_on_what_the_kernel_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert "The kernel shows no GPU" in machine.openvino_gpu_advice(tmp_path)
    record(tmp_path, {"dev/dri/renderD128": ""})
    assert "sudo apt install intel-opencl-icd; sudo usermod -aG render" in machine.openvino_gpu_advice(tmp_path)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "use --device cpu" in machine.openvino_gpu_advice(tmp_path)
