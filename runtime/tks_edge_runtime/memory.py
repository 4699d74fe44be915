"""How much memory this process can still be given."""

from __future__ import annotations

import resource
from pathlib import Path


def room(root: Path = Path("/")) -> int | None:
    """The bytes that the kernel says are available, or fewer where the process has a limit of its own (`ulimit -v`).

    None where neither can be read.
    """
    found = [value for value in (_available(root), _below_the_limit(root)) if value is not None]
    return min(found, default=None)


def _kibibytes(path: Path, key: str) -> int | None:
    """A line of a file in the format of `/proc/meminfo`, in bytes."""
    try:
        lines = path.read_text().splitlines()
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:")), None)
    except (OSError, ValueError, IndexError):
        return None


def _available(root: Path) -> int | None:
    return _kibibytes(root / "proc/meminfo", "MemAvailable")


def _below_the_limit(root: Path) -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _kibibytes(root / "proc/self/status", "VmSize")
    return None if limit == resource.RLIM_INFINITY or used is None else max(0, limit - used)
