"""What doctor says of a Jetson: JetPack, TensorRT, CUDA, power mode, clocks, and the memory for building an engine."""

from __future__ import annotations

from typing import Any

from tks_edge_runtime.backends.tensorrt_library import OLDEST
from tks_edge_runtime.device import jetpack, power_mode
from tks_edge_runtime.device.tree import Tree
from tks_edge_runtime.doctor import computer
from tks_edge_runtime.doctor.finding import Finding

TENSORRT_FLOOR = ".".join(map(str, OLDEST))
"""The oldest TensorRT that the backend tensorrt uses, in words."""
_SMALL_BYTES = 9e9
"""More than a board of 8 GB has, and less than one of 16 GB."""
_UPGRADABLE = ("Orin", "Thor", "T5000")
_SWAP = "sudo fallocate -l 8G /swapfile; sudo chmod 600 /swapfile; sudo mkswap /swapfile; sudo swapon /swapfile"


def is_board(machine: dict[str, Any]) -> bool:
    """Say whether these are the facts of a Jetson."""
    return "l4t" in machine


def is_small(machine: dict[str, Any]) -> bool:
    """Say whether this is a board of 4 or 8 GB, on which an engine is built with --low-memory."""
    return is_board(machine) and machine["memory_bytes"] is not None and machine["memory_bytes"] < _SMALL_BYTES


def out_of_scope(machine: dict[str, Any]) -> str | None:
    """Say why tks-edge does not support this board, and what to do; None where it does, or where nothing says so."""
    release = machine.get("l4t")
    if release is None or int(release.partition(".")[0]) >= jetpack.SUPPORTED_L4T:
        return None
    name = machine["module"] or machine["board"] or "this board"
    if any(part in name for part in _UPGRADABLE):
        return (
            f"{name} runs {_jetpack(machine)}, and tks-edge needs JetPack 6.1 or later. "
            "Flash it: https://developer.nvidia.com/embedded/jetpack"
        )
    return (
        f"{name} has no JetPack later than 5 (this is {_jetpack(machine)}), and tks-edge needs 6.1: "
        "it is out of scope. Use an Orin or later."
    )


def findings(machine: dict[str, Any], now: dict[str, Any], tree: Tree) -> list[Finding]:
    """Look at what a Jetson has beyond any computer, and at its clocks and memory; `machine` are its facts."""
    return [
        Finding("board", "ok", _names(machine)),
        _release(machine),
        _tensorrt(machine),
        _cuda(machine),
        _power_mode(machine, tree),
        _clocks(machine),
        _memory(machine, now),
        _swap(machine),
    ]


def tensorrt_runs(machine: dict[str, Any]) -> bool:
    """Say whether the system's TensorRT is one that the backend tensorrt uses."""
    version = machine.get("tensorrt")
    return version is not None and tuple(map(int, version.split(".")[:2])) >= OLDEST


def _names(machine: dict[str, Any]) -> str:
    board, module = machine["board"], machine["module"]
    return f"{board or 'unknown'}; module: {module or 'unknown'}"


def _jetpack(machine: dict[str, Any]) -> str:
    release = machine["l4t"]
    return f"JetPack {machine['jetpack']} (L4T {release})" if machine["jetpack"] else f"L4T {release}"


def _release(machine: dict[str, Any]) -> Finding:
    refusal = out_of_scope(machine)
    if machine["l4t"] is None:
        return Finding("JetPack", "absent", "cannot be read from /etc/nv_tegra_release")
    if refusal is not None:
        return Finding("JetPack", "missing", _jetpack(machine), refusal)
    if machine["jetpack"] is None:
        return Finding(
            "JetPack", "ok", f"of unknown version, L4T {machine['l4t']}", "newer than this tks-edge, perhaps"
        )
    return Finding("JetPack", "ok", f"{machine['jetpack']}, L4T {machine['l4t']}")


def _tensorrt(machine: dict[str, Any]) -> Finding:
    version = machine["tensorrt"]
    if version is None:
        return Finding("TensorRT", "absent", "not installed", "sudo apt install nvidia-jetpack")
    if not tensorrt_runs(machine):
        return Finding(
            "TensorRT", "warning", version, f"older than {TENSORRT_FLOOR}: JetPack 6.1 and later bring a newer one"
        )
    return Finding("TensorRT", "ok", version)


def _cuda(machine: dict[str, Any]) -> Finding:
    if machine["cuda"] is None:
        return Finding("CUDA", "absent", "no toolkit in /usr/local", "sudo apt install nvidia-jetpack")
    return Finding("CUDA", "ok", machine["cuda"])


def _power_mode(machine: dict[str, Any], tree: Tree) -> Finding:
    mode = machine["power_mode"]
    if mode is None:
        return Finding("power mode", "absent", "cannot be read", "ask for it: nvpmodel -q")
    text = f"{mode['name'] or 'unnamed'} (id {mode['id']})"
    fastest = power_mode.fastest(power_mode.modes(tree))
    if fastest is None or fastest.id == mode["id"]:
        return Finding("power mode", "ok", text)
    advice = f"the fastest is {fastest.name}: sudo nvpmodel -m {fastest.id}, then sudo jetson_clocks"
    return Finding("power mode", "warning", text, advice)


def _clocks(machine: dict[str, Any]) -> Finding:
    gpus = (machine.get("gpus") or {}).values()
    limits = [(gpu.get("clock_least_mhz"), gpu.get("clock_limit_mhz")) for gpu in gpus if "clock_least_mhz" in gpu]
    if not limits or any(limit is None for pair in limits for limit in pair):
        return Finding("clocks", "absent", "cannot be read", "whether clocks are steady is unknown")
    if all(least == most for least, most in limits):
        return Finding("clocks", "ok", "GPU fixed at its limit")
    advice = "latency varies with them; for steady ones: sudo jetson_clocks"
    return Finding("clocks", "warning", "the GPU's follows the load", advice)


def _memory(machine: dict[str, Any], now: dict[str, Any]) -> Finding:
    return computer.memory(machine, now, "build engines with --low-memory" if is_small(machine) else None)


def _swap(machine: dict[str, Any]) -> Finding:
    if is_small(machine) and machine["swap_bytes"] == 0:
        return Finding("swap", "warning", "none", f"building an engine may need it: {_SWAP}")
    return computer.swap(machine)
