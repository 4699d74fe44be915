"""What is installed in this environment: distributions, libraries, and the backends on each of their devices."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from tks_edge_runtime.backends import BACKENDS, PLUGINS, Backend, find_backend
from tks_edge_runtime.doctor.finding import Finding, Status
from tks_edge_runtime.errors import MissingError, TksEdgeError
from tks_edge_runtime.session import DEFAULT_BACKEND
from tks_edge_runtime.version import __version__
from tks_edge_runtime.versions import installed

_HOST, _BOARD = "tks-edge", "tks-edge-runtime"
_LIBRARIES = ("numpy", "pillow", "matplotlib", "jinja2")
_TRAINING = (
    "tks_edge",
    "torch",
    "torchvision",
    "lightning_fabric",
    "safetensors",
    "sklearn",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "onnxruntime",
)
"""What the extra `train` brings, by the names they are imported under."""


def findings(machine: dict[str, Any]) -> list[Finding]:
    """Look at the distributions, the Python, and the libraries that every command needs."""
    python = Finding("Python", "ok", f"{machine['python']} ({sys.executable})")
    return [_distributions(), python, *map(_library, _LIBRARIES)]


def training() -> Finding:
    """Say whether networks can be trained and exported here, without importing torch: that takes seconds."""
    lacking = [name for name in _TRAINING if importlib.util.find_spec(name) is None]
    if not lacking:
        return Finding("training", "ok", f"torch {installed('torch') or 'of unknown version'}")
    advice = "only needed to train and export, perhaps on another machine: in a checkout, pip install '.[train]'"
    if "torch" in lacking or "tks_edge" in lacking:
        return Finding("training", "absent", "tks-edge with torch is not installed", advice)
    return Finding("training", "missing", f"not installed: {', '.join(lacking)}", advice)


def backends() -> dict[tuple[str, str], Finding]:
    """Ask every backend whether it can run here, on each of its devices; the keys are backend and device.

    A plugin that cannot be imported has no devices; it stands under its name alone, with the reason.
    """
    found = {
        (name, device): _backend(name, backend, device)
        for name, backend in BACKENDS.items()
        for device in backend.devices
    }
    for name in PLUGINS.names():
        found |= _plugin(name)
    return found


def _plugin(name: str) -> dict[tuple[str, str], Finding]:
    try:
        backend = find_backend(name)
    except TksEdgeError as error:
        return {(name, ""): Finding(f"{name} of a plugin", "absent", "cannot be used", str(error))}
    return {(name, device): _backend(name, backend, device) for device in backend.devices}


def _backend(name: str, backend: Backend, device: str) -> Finding:
    """The backend and device that commands take by themselves is missed where it is not; the others are a choice."""
    subject = f"{name} on {device}"
    try:
        backend.require(device)
        return Finding(subject, "ok", f"{name} {backend.version()}")
    except MissingError as error:
        is_default = name == DEFAULT_BACKEND and device == backend.devices[0]
        status: Status = "missing" if is_default else "absent"
        return Finding(subject, status, "cannot be used", str(error))


def _distributions() -> Finding:
    found = [name for name in (_HOST, _BOARD) if installed(name) is not None]
    if len(found) == 2:
        return Finding(
            "tks-edge",
            "warning",
            f"{__version__}, and both {_HOST} and {_BOARD} are installed: one may hide the other's files",
            f"pip uninstall {_HOST} {_BOARD}, then install one of them again",
        )
    return Finding("tks-edge", "ok", f"{__version__} ({found[0] if found else 'from a folder, not installed'})")


def _library(name: str) -> Finding:
    version = installed(name)
    if version is None:
        return Finding(name, "missing", "not installed", f"pip install {name}")
    return Finding(name, "ok", version)
