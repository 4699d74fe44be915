"""What this machine has, what it can run, and what to do about the rest."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from tks_edge_runtime.backends import BACKENDS
from tks_edge_runtime.device import facts, state
from tks_edge_runtime.errors import MissingError
from tks_edge_runtime.session import DEFAULT_BACKEND
from tks_edge_runtime.version import __version__

Status = Literal["ok", "warning", "missing", "absent"]
_HOST, _BOARD = "tks-edge", "tks-edge-runtime"
_LITTLE_ROOM = 1e9
_LITTLE_MEMORY = 0.5e9
_BUSY = 0.5
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


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    `status` is "ok"; "warning": it works, with a reservation; "missing": something cannot run without it; "absent": not
    here, and only needed for other work. `advice` says what to do, where there is something to do.
    """

    subject: str
    status: Status
    found: str
    advice: str | None = None


@dataclass(frozen=True)
class Examination:
    """Everything that was found, which backends can run here, and the facts of the machine (`device.facts`)."""

    findings: tuple[Finding, ...]
    backends: tuple[str, ...]
    facts: dict[str, Any]


def examine(root: Path = Path("/"), folder: Path = Path()) -> Examination:
    """Look at the machine below `root`, and at the room on the disk that holds `folder`."""
    machine, now = facts(root), state(root)
    backends = {name: _backend(name) for name in BACKENDS}
    findings = (
        _distributions(),
        Finding("Python", "ok", f"{machine['python']} ({sys.executable})"),
        *(_library(name) for name in ("numpy", "pillow", "matplotlib", "jinja2")),
        *backends.values(),
        _training(),
        _processor(machine),
        _gpu(root),
        _governor(machine),
        _load(machine, now),
        _memory(machine, now),
        _disk(folder),
    )
    return Examination(findings, tuple(name for name, finding in backends.items() if finding.status == "ok"), machine)


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _distributions() -> Finding:
    installed = [name for name in (_HOST, _BOARD) if _installed(name) is not None]
    if len(installed) == 2:
        return Finding(
            "tks-edge",
            "warning",
            f"{__version__}, and both {_HOST} and {_BOARD} are installed: one may hide the other's files",
            f"pip uninstall {_HOST} {_BOARD}, then install one of them again",
        )
    return Finding("tks-edge", "ok", f"{__version__} ({installed[0] if installed else 'from a folder, not installed'})")


def _library(name: str) -> Finding:
    version = _installed(name)
    if version is None:
        return Finding(name, "missing", "not installed", f"pip install {name}")
    return Finding(name, "ok", version)


def _backend(name: str) -> Finding:
    """The backend that commands take by themselves is missed where it is not; the others are a choice."""
    try:
        return Finding(f"backend {name}", "ok", BACKENDS[name].version())
    except MissingError as error:
        status: Status = "missing" if name == DEFAULT_BACKEND else "absent"
        return Finding(f"backend {name}", status, "cannot be used", str(error))


def _training() -> Finding:
    """Say whether networks can be trained and exported here, without importing torch: that takes seconds."""
    lacking = [name for name in _TRAINING if importlib.util.find_spec(name) is None]
    if not lacking:
        return Finding("training", "ok", f"torch {_installed('torch') or 'of unknown version'}")
    advice = "only needed to train and export, perhaps on another machine: in a checkout, pip install '.[train]'"
    if "torch" in lacking or "tks_edge" in lacking:
        return Finding("training", "absent", "tks-edge with torch is not installed", advice)
    return Finding("training", "missing", f"not installed: {', '.join(lacking)}", advice)


def _gpu(root: Path) -> Finding:
    try:
        driver = (root / "proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return Finding("GPU", "absent", "no NVIDIA driver", "not needed: the backends of this version run on the CPU")
    return Finding("GPU", "ok", driver, "not used: the backends of this version run on the CPU")


def _processor(machine: dict[str, Any]) -> Finding:
    name = machine["cpu"] or machine["board"] or "unknown processor"
    cores = f"{machine['cores_physical'] or '-'} cores, {machine['cores_logical'] or '-'} threads"
    text = f"{name} ({machine['architecture'] or '-'}), {cores}"
    if machine["virtual_machine"]:
        return Finding("processor", "warning", f"{text}, a virtual machine", "its neighbours may disturb latencies")
    return Finding("processor", "ok", text)


def _governor(machine: dict[str, Any]) -> Finding:
    governors = machine["governors"]
    if governors is None:
        return Finding("CPU governor", "absent", "cannot be read", "whether clocks are steady is unknown")
    text = ", ".join(governors)
    if governors != ["performance"]:
        advice = (
            "clocks follow the load and latency varies; for steady ones: sudo cpupower frequency-set -g performance"
        )
        return Finding("CPU governor", "warning", text, advice)
    return Finding("CPU governor", "ok", text)


def _load(machine: dict[str, Any], now: dict[str, Any]) -> Finding:
    if now["load"] is None:
        return Finding("load", "absent", "cannot be read")
    load, cores = now["load"][0], machine["cores_logical"] or 1
    text = f"{load:.2f} on {cores} threads"
    if load > _BUSY * cores:
        return Finding("load", "warning", text, "other programs are running; latencies will suffer from them")
    return Finding("load", "ok", text)


def _memory(machine: dict[str, Any], now: dict[str, Any]) -> Finding:
    available, total = now["memory_available_bytes"], machine["memory_bytes"]
    if available is None or total is None:
        return Finding("memory", "absent", "cannot be read")
    text = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB available"
    if available < _LITTLE_MEMORY:
        return Finding("memory", "warning", text, "close other programs")
    return Finding("memory", "ok", text)


def _disk(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", "absent", f"cannot be read: {error.strerror}")
    text = f"{free / 1e9:.1f} GB free here"
    if free < _LITTLE_ROOM:
        return Finding("disk", "warning", text, "free some room before training or exporting")
    return Finding("disk", "ok", text)
