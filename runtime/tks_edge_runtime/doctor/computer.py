"""What doctor says of any computer: processor, GPU, clocks, load, memory, disk, and how its energy is measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tks_edge_runtime.device import EnergyMeter, rapl
from tks_edge_runtime.device.nvml import cards
from tks_edge_runtime.device.tree import Tree
from tks_edge_runtime.doctor.finding import Finding
from tks_edge_runtime.versions import installed

_LITTLE_ROOM = 1e9
_LITTLE_MEMORY = 0.5e9
_BUSY = 0.5
_NVML = "nvidia-ml-py"


def findings(machine: dict[str, Any], now: dict[str, Any], tree: Tree) -> list[Finding]:
    """Look at what every computer has; `machine` and `now` are its facts and state."""
    return [_processor(machine), _gpu(machine, tree), _load(machine, now), _energy(tree)]


def governor(machine: dict[str, Any]) -> Finding:
    """Look at the governor of a PC's CPU clocks."""
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


def memory(machine: dict[str, Any], now: dict[str, Any], advice: str | None = None) -> Finding:
    """Look at the memory that is free; `advice` is given where there is enough of it."""
    available, total = now["memory_available_bytes"], machine["memory_bytes"]
    if available is None or total is None:
        return Finding("memory", "absent", "cannot be read")
    text = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB available"
    if available < _LITTLE_MEMORY:
        return Finding("memory", "warning", text, "close other programs")
    return Finding("memory", "ok", text, advice)


def swap(machine: dict[str, Any]) -> Finding:
    """Look at the swap."""
    size = machine["swap_bytes"]
    if size is None:
        return Finding("swap", "absent", "cannot be read")
    return Finding("swap", "ok" if size else "absent", f"{size / 1e9:.1f} GB" if size else "none")


def disk(folder: Path) -> Finding:
    """Look at the room on the disk that holds `folder`."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", "absent", f"cannot be read: {error.strerror}")
    text = f"{free / 1e9:.1f} GB free here"
    if free < _LITTLE_ROOM:
        return Finding("disk", "warning", text, "free some room before training or exporting")
    return Finding("disk", "ok", text)


def _processor(machine: dict[str, Any]) -> Finding:
    name = machine["cpu"] or machine["board"] or "unknown processor"
    cores = f"{machine['cores_physical'] or '-'} cores, {machine['cores_logical'] or '-'} threads"
    text = f"{name} ({machine['architecture'] or '-'}), {cores}"
    if machine["virtual_machine"]:
        return Finding("processor", "warning", f"{text}, a virtual machine", "its neighbours may disturb latencies")
    return Finding("processor", "ok", text)


def _gpu(machine: dict[str, Any], tree: Tree) -> Finding:
    gpus = machine.get("gpus") or {}
    names = [gpu["name"] for gpu in gpus.values() if gpu.get("name")] or cards(tree)
    driver = machine.get("gpu_driver")
    if driver is not None:
        text = f"{', '.join(names) or 'NVIDIA'}, driver {driver}"
        if tree.live and installed(_NVML) is None:
            return Finding("GPU", "ok", text, f"for its clocks, power and temperature in reports: pip install {_NVML}")
        return Finding("GPU", "ok", text)
    if gpus:
        clocks = [gpu["clock_limit_mhz"] for gpu in gpus.values() if gpu.get("clock_limit_mhz")]
        limit = f", up to {max(clocks):.0f} MHz" if clocks else ""
        return Finding("GPU", "ok", f"of the {machine.get('system_on_chip') or 'board'}{limit}")
    return Finding("GPU", "absent", "no NVIDIA driver", "only needed for devices other than the CPU")


def _load(machine: dict[str, Any], now: dict[str, Any]) -> Finding:
    if now["load"] is None:
        return Finding("load", "absent", "cannot be read")
    load, cores = now["load"][0], machine["cores_logical"] or 1
    text = f"{load:.2f} on {cores} threads"
    if load > _BUSY * cores:
        return Finding("load", "warning", text, "other programs are running; latencies will suffer from them")
    return Finding("load", "ok", text)


def _energy(tree: Tree) -> Finding:
    sources = EnergyMeter(tree.root).sources
    locked = rapl.unreadable(tree)
    paths = " ".join(f"/{path}" for path in locked)
    advice = f"only root may read the processor's counter; until the next start: sudo chmod a+r {paths}"
    if sources:
        text = "; ".join(source.label for source in sources)
        return Finding("energy", "ok", text, advice if locked else None)
    if locked:
        return Finding("energy", "absent", "cannot be read", advice)
    return Finding("energy", "absent", "this machine does not measure its own", "reports show a dash for it")
