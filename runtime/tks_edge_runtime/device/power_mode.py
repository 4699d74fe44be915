"""The power modes of a Jetson. Names and ids differ between boards: MAXN_SUPER is 0 on an Orin NX, 2 on a Nano."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from tks_edge_runtime.device.tree import Tree

RECORDED = "nvpmodel-q.txt"
"""In a recorded tree, what `nvpmodel -q` printed there."""
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=([0-9]{1,4})\s+NAME=([^\s>]+)\s*>", re.ASCII)
_QUERY = re.compile(r"NV Power Mode: *(\S+)\s+([0-9]{1,4})\s*$", re.ASCII | re.MULTILINE)
_STATUS = re.compile(r"pmode:([0-9]{1,4})", re.ASCII)
_WATTS = re.compile(r"([0-9]{1,4})W", re.ASCII)
_FASTEST = ("MAXN_SUPER", "MAXN")
_SECONDS = 5


@dataclass(frozen=True)
class PowerMode:
    """A power mode: `nvpmodel -m ID` sets it; the name is None where nothing names it."""

    name: str | None
    id: int


def modes(tree: Tree) -> tuple[PowerMode, ...]:
    """Return the modes of this board, as /etc/nvpmodel.conf defines them."""
    found = _MODE.findall(tree.text("etc/nvpmodel.conf") or "")
    return tuple(PowerMode(name, int(number)) for number, name in found)


def asked(tree: Tree) -> PowerMode | None:
    """Ask nvpmodel for the mode; of a recorded tree, read what it said there. Where it is silent, `current`."""
    found = _QUERY.search((_query() if tree.live else tree.text(RECORDED)) or "")
    return PowerMode(found[1], int(found[2])) if found else current(tree)


def current(tree: Tree) -> PowerMode | None:
    """Read the mode from the file in which nvpmodel keeps it: cheap enough for every snapshot."""
    found = _STATUS.search(tree.text("var/lib/nvpmodel/status") or "")
    if found is None:
        return None
    number = int(found[1])
    return PowerMode(next((mode.name for mode in modes(tree) if mode.id == number), None), number)


def fastest(available: tuple[PowerMode, ...]) -> PowerMode | None:
    """Choose the mode without a limit (MAXN_SUPER, or else MAXN), or else the one with the most watts in its name."""
    for name in _FASTEST:
        for mode in available:
            if mode.name == name:
                return mode
    watts = [(int(found[1]), mode) for mode in available if (found := _WATTS.search(mode.name or ""))]
    return max(watts, key=lambda entry: entry[0])[1] if watts else None


def _query() -> str | None:
    program = shutil.which("nvpmodel") or shutil.which("nvpmodel", path="/usr/sbin")
    if program is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - the system's own tool, without anything a user gave
            [program, "-q"], capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
