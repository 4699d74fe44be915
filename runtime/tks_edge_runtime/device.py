"""What machine this is, and what state it is in while something is measured on it.

Everything is read below `root`, so that a recorded tree can stand in for a machine. What cannot be read is None, and a
dash in a report: never a guess. This file knows any Linux computer; a board with more to say (power modes, rails) gets
a file of its own that adds to `facts` and `state`.
"""

from __future__ import annotations

import os
import platform
import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path("/")
_CPUS = "sys/devices/system/cpu"
_CLOCK_DROP = 0.9


def facts(root: Path = _ROOT) -> dict[str, Any]:
    """Return what does not change while something is measured.

    Keys: `cpu`, `board`, `architecture`, `cores_logical`, `cores_physical`, `cores_usable` (by this process),
    `virtual_machine`, `memory_bytes`, `os`, `kernel`, `python`, `governors`, `turbo`, `clock_limit_mhz`.
    """
    cpuinfo = _pairs(_read(root / "proc/cpuinfo"))
    flags = cpuinfo.get("flags")
    return {
        "cpu": cpuinfo.get("model name"),
        "board": _read(root / "proc/device-tree/model"),
        "architecture": platform.machine() or None,
        "cores_logical": len(_cpus(root)) or None,
        "cores_physical": len(set(_readable(cpu / "topology/thread_siblings_list" for cpu in _cpus(root)))) or None,
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "virtual_machine": "hypervisor" in flags.split() if flags else None,
        "memory_bytes": _memory(root, "MemTotal"),
        "os": _pairs(_read(root / "etc/os-release"), "=").get("PRETTY_NAME", "").strip('"') or None,
        "kernel": _read(root / "proc/sys/kernel/osrelease"),
        "python": platform.python_version(),
        "governors": governors(root),
        "turbo": _turbo(root),
        "clock_limit_mhz": _clock_limit(root),
    }


def state(root: Path = _ROOT) -> dict[str, Any]:
    """Return what changes: one snapshot.

    Keys: `time` (s since the epoch), `load` (1, 5, 15 minutes), `memory_available_bytes`, `clock_mhz` (min, mean, max
    over the CPUs), `governors`, `temperatures_c` by thermal zone, `throttle_counts` by kind, summed over the CPUs.
    """
    return {
        "time": time.time(),
        "load": _load(root),
        "memory_available_bytes": _memory(root, "MemAvailable"),
        "clock_mhz": _clocks(root),
        "governors": governors(root),
        "temperatures_c": _temperatures(root),
        "throttle_counts": _throttle_counts(root),
    }


def governors(root: Path = _ROOT) -> list[str] | None:
    """Return the different frequency governors of the CPUs, sorted; None where they cannot be read."""
    return sorted(set(_readable(cpu / "cpufreq/scaling_governor" for cpu in _cpus(root)))) or None


def instabilities(states: Sequence[dict[str, Any]]) -> list[str]:
    """Say in sentences what went wrong with the machine over the snapshots of one measurement.

    It was throttled where a counter rose. Its clock fell where the fastest CPU, which is the one that works, shows
    less than 90 % of what it had in the first snapshot, taken under load after the warm-up. Where neither clocks nor
    counters are readable, nothing is said.
    """
    found = []
    counts = [s["throttle_counts"] for s in states if s["throttle_counts"] is not None]
    if counts:
        fired = sum(max(0, counts[-1].get(kind, 0) - before) for kind, before in counts[0].items())
        if fired:
            found.append(f"the CPU was throttled {fired} times")
    clocks = [s["clock_mhz"]["max"] for s in states if s["clock_mhz"] is not None]
    if clocks and min(clocks) < _CLOCK_DROP * clocks[0]:
        found.append(f"the CPU clock fell from {clocks[0]:.0f} to {min(clocks):.0f} MHz")
    return found


class Sampler:
    """Takes a snapshot of the machine once a second, in a thread of its own, while its block runs.

    Attributes:
        states: the snapshots, oldest first: one on entering, one each period, one on leaving.
    """

    def __init__(self, root: Path = _ROOT, *, period: float = 1.0) -> None:
        self.states: list[dict[str, Any]] = []
        self._root = root
        self._period = period
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="device state", daemon=True)

    def _sample(self) -> None:
        while not self._stopped.wait(self._period):
            self.snapshot()

    def snapshot(self) -> None:
        """Take one snapshot now, beside those of the thread."""
        self.states.append(state(self._root))

    def between(self, start: float, end: float) -> list[dict[str, Any]]:
        """Return the snapshots taken from `start` to `end`, in s since the epoch."""
        return [s for s in self.states if start <= s["time"] <= end]

    def __enter__(self) -> Sampler:
        self.snapshot()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self.snapshot()


def _read(path: Path) -> str | None:
    """Read a file of the kernel's: its text, stripped; None where it is missing, not ours to read, or empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n\t") or None
    except OSError:
        return None


def _readable(paths: Iterable[Path]) -> list[str]:
    return [text for path in paths if (text := _read(path)) is not None]


def _integers(paths: Iterable[Path]) -> list[int]:
    return [int(text) for text in _readable(paths) if text.lstrip("-").isdecimal()]


def _cpus(root: Path) -> list[Path]:
    return [path for path in (root / _CPUS).glob("cpu[0-9]*") if path.name[3:].isdecimal()]


def _pairs(text: str | None, separator: str = ":") -> dict[str, str]:
    """Split `name: value` lines; of a name that comes again, the first value counts."""
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        name, mark, value = line.partition(separator)
        if mark:
            found.setdefault(name.strip(), value.strip())
    return found


def _memory(root: Path, name: str) -> int | None:
    value = _pairs(_read(root / "proc/meminfo")).get(name, "").removesuffix(" kB")
    return int(value) * 1024 if value.isdecimal() else None


def _load(root: Path) -> list[float] | None:
    try:
        return [float(value) for value in (_read(root / "proc/loadavg") or "").split()[:3]] or None
    except ValueError:
        return None


def _clocks(root: Path) -> dict[str, float] | None:
    """Return the current clocks: from cpufreq, or where that is missing, the measured ones of /proc/cpuinfo (x86)."""
    clocks = [value / 1000 for value in _integers(cpu / "cpufreq/scaling_cur_freq" for cpu in _cpus(root))]
    if not clocks:
        lines = (_read(root / "proc/cpuinfo") or "").splitlines()
        texts = [line.partition(":")[2].strip() for line in lines if line.startswith("cpu MHz")]
        clocks = [float(text) for text in texts if text.replace(".", "", 1).isdecimal()]
    if not clocks:
        return None
    return {"min": min(clocks), "mean": statistics.fmean(clocks), "max": max(clocks)}


def _clock_limit(root: Path) -> float | None:
    limits = _integers(cpu / "cpufreq/scaling_max_freq" for cpu in _cpus(root))
    return max(limits) / 1000 if limits else None


def _turbo(root: Path) -> bool | None:
    for file, on in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")):
        text = _read(root / _CPUS / file)
        if text is not None:
            return text == on
    return None


def _temperatures(root: Path) -> dict[str, float] | None:
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        millidegrees = _integers([zone / "temp"])
        if millidegrees:
            kind = _read(zone / "type") or zone.name
            found[kind if kind not in found else f"{kind} ({zone.name})"] = millidegrees[0] / 1000
    return found or None


def _throttle_counts(root: Path) -> dict[str, int] | None:
    found: dict[str, int] = {}
    for cpu in _cpus(root):
        for path in (cpu / "thermal_throttle").glob("*_throttle_count"):
            for count in _integers([path]):
                found[path.name.removesuffix("_throttle_count")] = (
                    found.get(path.name.removesuffix("_throttle_count"), 0) + count
                )
    return found or None
