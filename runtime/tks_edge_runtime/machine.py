"""What kind of machine this is, and how what it lacks is installed on that kind.

Everything is looked up below `root`, so that a recorded tree can stand in for a machine.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Literal

from tks_edge_runtime.device import jetpack
from tks_edge_runtime.device.tree import Tree

Kind = Literal["jetson", "x86-64", "arm"]

_ROOT = Path("/")
_DRIVER_NODES = ("dev/nvidiactl", "dev/nvhost-ctrl", "dev/nvhost-gpu", "dev/nvmap", "dev/dxg")
"""Of the desktop's driver, of three generations of the Jetson's, and of Windows' driver seen from its Linux."""
_TENSORRT_ON_JETSON = "JetPack 6.1 and newer bring it: sudo apt install nvidia-jetpack python3-libnvinfer"
_TENSORRT_OF_JETPACK = "usr/lib/python3*/dist-packages/tensorrt"


def kind(root: Path = _ROOT) -> Kind:
    """Tell a Jetson from a PC with an Arm processor, and from one with an x86-64 processor."""
    with Tree(root) as tree:
        if jetpack.is_jetson(tree):
            return "jetson"
    return "arm" if platform.machine().lower().startswith(("aarch64", "arm")) else "x86-64"


def nvidia_driver(root: Path = _ROOT) -> str | None:
    """Name the NVIDIA driver that is loaded: its version line, or the file that shows it; None where there is none."""
    try:
        return (root / "proc/driver/nvidia/version").read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return next((f"/{node}" for node in _DRIVER_NODES if (root / node).exists()), None)


def in_venv() -> bool:
    """Whether this Python runs in a virtual environment."""
    return sys.prefix != sys.base_prefix


def sees_system_packages() -> bool:
    """Whether this Python finds what the system's package manager installed, as JetPack's TensorRT is."""
    if not in_venv():
        return True
    try:
        lines = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8").lower().splitlines()
    except OSError:
        return False
    return "true" in [value.strip() for name, _, value in (line.partition("=") for line in lines) if "system" in name]


def pip(arguments: str) -> str:
    """A pip command for the environment that runs this: outside a virtual one, by the Python whose pip it is."""
    return f"pip {arguments}" if in_venv() else f"{sys.executable} -m pip {arguments}"


def driver_advice(root: Path = _ROOT) -> str:
    """How to get an NVIDIA driver here."""
    if kind(root) == "jetson":
        return "The driver is part of JetPack: flash the board with it, and in a container give --runtime nvidia."
    return "Where there is an NVIDIA GPU, install its driver (Ubuntu: sudo ubuntu-drivers install) and start anew."


def onnxruntime_gpu_advice(root: Path = _ROOT) -> str:
    """How to get an ONNX Runtime that computes on NVIDIA GPUs here."""
    if kind(root) == "jetson":
        return (
            "There are no official wheels with CUDA for a Jetson (onnxruntime#20503): use --backend tensorrt, which "
            "needs JetPack alone, or install the onnxruntime-gpu wheel that NVIDIA offers for this JetPack."
        )
    new = "install 'onnxruntime-gpu[cuda,cudnn]'"
    both = f"{pip('uninstall onnxruntime')}; {pip(new)}"
    return f"Two builds of it cannot share an environment, so replace the one for CPUs: {both}"


def cuda_advice(library: str, root: Path = _ROOT) -> str:
    """How to get a missing library of the driver, CUDA, cuDNN or TensorRT.

    Args:
        library: the file that a loader looked for, such as `libcudnn.so.9`.
        root: the machine.
    """
    if library.startswith("libcuda."):
        return driver_advice(root)
    if library.startswith("libnv"):
        return tensorrt_advice(root, major=library.rpartition(".")[2])
    if kind(root) == "jetson":
        return "JetPack brings it: sudo apt install nvidia-jetpack"
    return "Install NVIDIA's libraries beside it: " + pip("install 'onnxruntime-gpu[cuda,cudnn]'")


def tensorrt_advice(root: Path = _ROOT, *, major: str | None = None) -> str:
    """How to get TensorRT here, of this major version where it must be a certain one."""
    if kind(root) != "jetson":
        install = pip("install tensorrt" if major is None else f"install 'tensorrt=={major}.*'")
        return f"Install it: {install}. It needs an NVIDIA GPU; without one, use another backend."
    anew = "make it anew with python3 -m venv --system-site-packages"
    if sees_system_packages():
        return _TENSORRT_ON_JETSON
    if any(root.glob(_TENSORRT_OF_JETPACK)):
        return f"JetPack's TensorRT is on this board, but this virtual environment does not see it: {anew}"
    return f"{_TENSORRT_ON_JETSON}; this virtual environment does not see it then: {anew}"


def openvino_gpu_advice(root: Path = _ROOT) -> str:
    """How to get a GPU that OpenVINO can use here."""
    if kind(root) != "x86-64":
        return "OpenVINO computes on Intel's GPUs alone, on x86-64; use --device cpu."
    if not any((root / "dev/dri").glob("renderD*")):
        return "The kernel shows no GPU (/dev/dri/renderD*); use --device cpu."
    return (
        "With an Intel GPU, install its compute driver, and let this user at it: sudo apt install intel-opencl-icd; "
        "sudo usermod -aG render $USER; then log in again."
    )
