"""What a board is to a package index: its Python, its processor, and the wheels that run there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tks_edge_runtime.errors import InputError, unknown

MACHINES = ("aarch64", "x86_64")
_OLDEST, _NEWEST = 10, 13
_GLIBC = {10: 35, 11: 36, 12: 39, 13: 41}
"""The glibc (2.N) of the system that brought each Python 3.N: Ubuntu 22.04 (JetPack 6), Debian 12, Ubuntu 24.04
(JetPack 7), Debian 13. Wheels for a newer one are not taken."""


@dataclass(frozen=True)
class Target:
    """A Python version ("3.10") on a processor ("aarch64"), on Linux with glibc."""

    python: str
    machine: str

    @property
    def platforms(self) -> list[str]:
        """The tags of platforms that run there, the newest first, as `pip download --platform` takes them."""
        newest = _GLIBC[int(self.python.partition(".")[2])]
        return [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, 16, -1)] + [
            f"manylinux2014_{self.machine}"
        ]

    @property
    def markers(self) -> dict[str, str]:
        """The variables of environment markers there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def checked_python(version: str) -> str:
    """A Python version that the runtime supports.

    Raises:
        InputError: it is none, or not given as major and minor.
    """
    found = re.fullmatch(r"3\.(\d+)", version)
    if found is None or not _OLDEST <= int(found[1]) <= _NEWEST:
        raise InputError(
            f"Python {version!r} is not one that the runtime runs on. Allowed: 3.{_OLDEST} to 3.{_NEWEST}. JetPack 5 "
            "has 3.8 and is out of scope; JetPack 6 has 3.10, JetPack 7 has 3.12."
        )
    return version


def target(python: str, machine: str) -> Target:
    """The target of that Python version and that machine.

    Raises:
        InputError: the runtime does not run there.
    """
    if machine not in MACHINES:
        raise unknown("platform", machine, MACHINES)
    return Target(checked_python(python), machine)
