"""What any Linux computer says of itself: processor, clocks and governors, memory, load."""

from __future__ import annotations

import os
import platform
import statistics
import time
from typing import Any

from tks_edge_runtime.device.tree import Tree, pairs

_CPUS = "sys/devices/system/cpu"
_ARM_PARTS = {
    ("0x41", "0xd07"): "Arm Cortex-A57",
    ("0x41", "0xd08"): "Arm Cortex-A72",
    ("0x41", "0xd0b"): "Arm Cortex-A76",
    ("0x41", "0xd42"): "Arm Cortex-A78AE",
    ("0x41", "0xd83"): "Arm Neoverse V3AE",
    ("0x4e", "0x004"): "NVIDIA Carmel",
}
"""Implementer and part of an Arm processor, which has no model name; from Linux, arch/arm64/include/asm/cputype.h."""


def facts(tree: Tree) -> dict[str, Any]:
    """Return what does not change while something is measured; `device.facts` lists the keys.

    Of a recorded tree, `python` and `cores_usable` are None: they would be this process's.
    """
    text = tree.text("proc/cpuinfo")
    cpuinfo = pairs(text)
    flags = cpuinfo.get("flags")
    cpus = _cpus(tree)
    arm = _ARM_PARTS.get((cpuinfo.get("CPU implementer", ""), cpuinfo.get("CPU part", "")))
    return {
        "cpu": cpuinfo.get("model name", arm),
        "board": tree.text("proc/device-tree/model") or _product(tree),
        "architecture": _architecture(tree, cpuinfo),
        "cores_logical": len(cpus) or None,
        "cores_physical": len(set(tree.texts(f"{cpu}/topology/thread_siblings_list" for cpu in cpus))) or None,
        "cores_usable": len(os.sched_getaffinity(0)) if tree.live and hasattr(os, "sched_getaffinity") else None,
        "virtual_machine": "hypervisor" in flags.split() if flags else None,
        "memory_bytes": _memory(tree, "MemTotal"),
        "swap_bytes": _memory(tree, "SwapTotal"),
        "os": pairs(tree.text("etc/os-release"), "=").get("PRETTY_NAME", "").strip('"') or None,
        "kernel": tree.text("proc/sys/kernel/osrelease"),
        "python": platform.python_version() if tree.live else None,
        "governors": governors(tree),
        "turbo": _turbo(tree),
        "clock_limit_mhz": _clock_limit(tree),
    }


def state(tree: Tree) -> dict[str, Any]:
    """Return what changes; `device.state` lists the keys."""
    return {
        "time": time.time(),
        "load": _load(tree),
        "memory_available_bytes": _memory(tree, "MemAvailable"),
        "clock_mhz": _clocks(tree),
        "governors": governors(tree),
        "throttle_counts": _throttle_counts(tree),
    }


def governors(tree: Tree) -> list[str] | None:
    """Return the different frequency governors of the CPUs, sorted; None where they cannot be read."""
    return sorted(set(tree.texts(f"{cpu}/cpufreq/scaling_governor" for cpu in _cpus(tree)))) or None


def _cpus(tree: Tree) -> list[str]:
    return [path for path in tree.paths(f"{_CPUS}/cpu[0-9]*") if path.rpartition("/cpu")[2].isdecimal()]


def _product(tree: Tree) -> str | None:
    """Name a PC by what its firmware says."""
    parts = tree.texts(f"sys/class/dmi/id/{name}" for name in ("sys_vendor", "product_name"))
    return " ".join(parts) or None


def _architecture(tree: Tree, cpuinfo: dict[str, str]) -> str | None:
    if tree.live:
        return platform.machine() or None
    if "CPU implementer" in cpuinfo:
        return "aarch64"
    return "x86_64" if "lm" in cpuinfo.get("flags", "").split() else None


def _memory(tree: Tree, name: str) -> int | None:
    value = pairs(tree.text("proc/meminfo")).get(name, "").removesuffix(" kB")
    return int(value) * 1024 if value.isdecimal() and len(value) < 18 else None


def _load(tree: Tree) -> list[float] | None:
    values = (tree.text("proc/loadavg") or "").split()[:3]
    return [float(value) for value in values] if values and all(map(_is_decimal, values)) else None


def _clocks(tree: Tree) -> dict[str, float] | None:
    """Return the current clocks: from cpufreq, or where that is missing, the measured ones of /proc/cpuinfo (x86)."""
    clocks = [value / 1000 for value in tree.integers(f"{cpu}/cpufreq/scaling_cur_freq" for cpu in _cpus(tree))]
    if not clocks:
        lines = (tree.text("proc/cpuinfo") or "").splitlines()
        texts = [line.partition(":")[2].strip() for line in lines if line.startswith("cpu MHz")]
        clocks = [float(text) for text in texts if _is_decimal(text)]
    if not clocks:
        return None
    return {"min": min(clocks), "mean": statistics.fmean(clocks), "max": max(clocks)}


def _is_decimal(text: str) -> bool:
    return len(text) < 18 and text.replace(".", "", 1).isdecimal()


def _clock_limit(tree: Tree) -> float | None:
    limits = tree.integers(f"{cpu}/cpufreq/scaling_max_freq" for cpu in _cpus(tree))
    return max(limits) / 1000 if limits else None


def _turbo(tree: Tree) -> bool | None:
    for file, on in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")):
        text = tree.text(f"{_CPUS}/{file}")
        if text is not None:
            return text == on
    return None


def _throttle_counts(tree: Tree) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for path in tree.paths(f"{_CPUS}/cpu[0-9]*/thermal_throttle/*_throttle_count"):
        count = tree.integer(path)
        if count is not None:
            kind = path.rpartition("/")[2].removesuffix("_throttle_count")
            found[kind] = found.get(kind, 0) + count
    return found or None
