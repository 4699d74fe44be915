"""Temperatures and how far they are from where the kernel slows the machine down, what does so now, and the fans."""

from __future__ import annotations

from typing import Any

from tks_edge_runtime.device.tree import Tree

_THERMAL = "sys/class/thermal"
_LIMITERS = ("throttle", "cpufreq", "devfreq", "Processor")
"""Parts of the types of those cooling devices that slow something down; the others are fans, lamps and alerts."""


def state(tree: Tree) -> dict[str, Any]:
    """Return `temperatures_c`, and of the other keys of `device.state` those that this machine has.

    They are `thermal_margins_c`, `slowed_by`, `fan_rpm` and `fan_pwm`.
    """
    temperatures, margins = _zones(tree)
    optional = {
        "thermal_margins_c": margins,
        "slowed_by": _slowed_by(tree),
        "fan_rpm": _fans(tree, ("rpm", "fan[0-9]*_input")),
        "fan_pwm": _fans(tree, ("pwm[0-9]",)),
    }
    return {"temperatures_c": temperatures or None} | {name: value for name, value in optional.items() if value}


def _zones(tree: Tree) -> tuple[dict[str, float], dict[str, float]]:
    """Return the zones' temperatures, and how far below their trip points they are, both in °C.

    A zone whose part is switched off cannot be read and is left out, as the GPU's on an idle Jetson.
    """
    temperatures: dict[str, float] = {}
    margins: dict[str, float] = {}
    for zone in tree.paths(f"{_THERMAL}/thermal_zone*"):
        millidegrees = tree.integer(f"{zone}/temp")
        if millidegrees is None:
            continue
        folder = zone.rpartition("/")[2]
        kind = tree.constant(f"{zone}/type") or folder
        name = kind if kind not in temperatures else f"{kind} ({folder})"
        temperatures[name] = millidegrees / 1000
        trip = _trip(tree, zone)
        if trip is not None:
            margins[name] = (trip - millidegrees) / 1000
    return temperatures, margins


def _trip(tree: Tree, zone: str) -> int | None:
    """Find the lowest trip point of a zone, in thousandths of 1 °C, at which something is slowed down.

    Such points are passive. A Jetson has another passive one far below, at which it only says that its surface is hot:
    where the zone says which cooling devices belong to which point, one of them must be a limiter.
    """
    cooled = {
        tree.constant(f"{device}_trip_point")
        for device in tree.paths(f"{zone}/cdev[0-9]")
        if _is_limiter(tree.constant(f"{device}/type"))
    }
    bound = bool(tree.paths(f"{zone}/cdev[0-9]"))
    found = []
    for path in tree.paths(f"{zone}/trip_point_*_type"):
        point = path.removesuffix("_type")
        number = point.rpartition("_")[2]
        text = tree.constant(f"{point}_temp") if tree.constant(path) == "passive" else None
        if text is not None and text.isdecimal() and (number in cooled or not bound):
            found.append(int(text[:18]))
    return min((point for point in found if point > 0), default=None)


def _is_limiter(kind: str | None) -> bool:
    return kind is not None and any(part in kind for part in _LIMITERS)


def _slowed_by(tree: Tree) -> dict[str, int]:
    """Return the states of the cooling devices that slow something down: 0 where they do nothing."""
    found: dict[str, int] = {}
    for device in tree.paths(f"{_THERMAL}/cooling_device*"):
        kind = tree.constant(f"{device}/type")
        level = tree.integer(f"{device}/cur_state") if _is_limiter(kind) else None
        if kind is not None and level is not None:
            found[kind] = max(level, found.get(kind, 0))
    return found


def _fans(tree: Tree, files: tuple[str, ...]) -> dict[str, int]:
    """Read the files of the hardware monitors of fans, by the monitor's name, with the fan's where it has several."""
    paths = [path for file in files for path in tree.paths(f"sys/class/hwmon/hwmon*/{file}")]
    found: dict[str, int] = {}
    for path in paths:
        value = tree.integer(path)
        folder, _, file = path.rpartition("/")
        if value is not None:
            monitor = tree.constant(f"{folder}/name") or folder.rpartition("/")[2]
            found[monitor if file in ("rpm", "pwm1") else f"{monitor} {file.removesuffix('_input')}"] = value
    return found
