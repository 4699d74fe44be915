"""Which module a Jetson is, and which versions of NVIDIA's software are on a machine."""

from __future__ import annotations

import json
import re

from tks_edge_runtime.device.tree import Tree

JETPACK_OF_L4T = {
    "32.7.1": "4.6.1",
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
}
"""From https://developer.nvidia.com/embedded/jetpack-archive; a release that is not here is unknown, not guessed."""

MODULES = {
    "p3448": "Jetson Nano",
    "p2180": "Jetson TX1",
    "p3310": "Jetson TX2",
    "p2888": "Jetson AGX Xavier",
    "p3668": "Jetson Xavier NX",
    "p3701-0000": "Jetson AGX Orin (developer kit)",
    "p3701-0004": "Jetson AGX Orin 32GB",
    "p3701-0005": "Jetson AGX Orin 64GB",
    "p3701-0008": "Jetson AGX Orin Industrial",
    "p3767-0000": "Jetson Orin NX 16GB",
    "p3767-0001": "Jetson Orin NX 8GB",
    "p3767-0003": "Jetson Orin Nano 8GB",
    "p3767-0004": "Jetson Orin Nano 4GB",
    "p3767-0005": "Jetson Orin Nano 8GB (developer kit)",
    "p3834-0008": "Jetson T5000 (AGX Thor developer kit)",
}
"""Part numbers in a device tree; from the Jetson Linux Developer Guide, "Jetson Modules and Configurations"."""

SUPPORTED_L4T = 36
"""The first major release of Jetson Linux with Python 3.10 and TensorRT 10: JetPack 6."""
_RELEASE = re.compile(r"R([0-9]{1,4}) \(release\), REVISION: ([0-9]{1,4}(?:\.[0-9]{1,4}){0,2})", re.ASCII)
_TENSORRT_LIBRARY = re.compile(r"/libnvinfer\.so\.([0-9]+\.[0-9]+\.[0-9]+)$", re.ASCII)
_TENSORRT_PACKAGES = ("libnvinfer", "tensorrt")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_LIBRARIES = "usr/lib/*-linux-gnu/libnvinfer.so.*"


def compatible(tree: Tree) -> list[str]:
    """Return what the device tree says the board is compatible with, the most specific name first."""
    return [name for name in (tree.constant("proc/device-tree/compatible") or "").split("\0") if name]


def is_jetson(tree: Tree) -> bool:
    """Say whether this is a board with an NVIDIA Tegra."""
    tegra = any(name.startswith("nvidia,tegra") for name in compatible(tree))
    return tegra or tree.constant("etc/nv_tegra_release") is not None


def module(tree: Tree) -> str | None:
    """Name the module, by the part number of the device tree."""
    for name in compatible(tree):
        part = name.rpartition("+")[2].removeprefix("nvidia,").removesuffix("-super")
        found = MODULES.get(part) or MODULES.get(part.partition("-")[0])
        if found is not None:
            return found
    return None


def system_on_chip(tree: Tree) -> str | None:
    """Name the chip, such as tegra234 (Orin) and tegra264 (Thor)."""
    names = [name.removeprefix("nvidia,") for name in compatible(tree) if name.startswith("nvidia,tegra")]
    return names[-1] if names else None


def l4t(tree: Tree) -> str | None:
    """Return the release of Jetson Linux, such as 36.4.3."""
    found = _RELEASE.search(tree.text("etc/nv_tegra_release") or "")
    if found is None:
        return None
    revision = found[2] if "." in found[2] else f"{found[2]}.0"
    return f"{found[1]}.{revision}"


def tensorrt(tree: Tree) -> str | None:
    """Return the newest TensorRT among the system's libraries, or else in the list of installed packages."""
    versions = [found[1] for path in tree.paths(_LIBRARIES) if (found := _TENSORRT_LIBRARY.search(path))]
    versions = versions or _installed(tree)
    return max(versions, key=_parts, default=None)


def _installed(tree: Tree) -> list[str]:
    """Return the versions of the installed packages of TensorRT, as dpkg has them: 10.3.0.30-1+cuda12.5 is 10.3.0."""
    found = []
    for entry in (tree.text("var/lib/dpkg/status") or "").split("\n\n"):
        if not entry.startswith(tuple(f"Package: {name}" for name in _TENSORRT_PACKAGES)):
            continue
        version = re.search(r"^Version: ([0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4})", entry, re.MULTILINE | re.ASCII)
        if version is not None and "\nStatus: install ok installed" in entry:
            found.append(version[1])
    return found


def _parts(version: str) -> list[int]:
    return [int(part[:18]) for part in version.split(".")]


def cuda(tree: Tree) -> str | None:
    """Return the version of the CUDA toolkit that /usr/local/cuda is."""
    for path in ("usr/local/cuda/version.json", *reversed(tree.paths("usr/local/cuda-[0-9]*/version.json"))):
        try:
            version = json.loads(tree.text(path) or "")["cuda"]["version"]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue
        if isinstance(version, str) and _VERSION.fullmatch(version):
            return version
    return None
