"""What went wrong with the machine while something was measured on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_CLOCK_DROP = 0.9
_AT_WORK_PERCENT = 10
"""A GPU with less to do than this may not be the one that is measured; its clock follows its load."""
_NEAR_TRIP_C = 3.0

State = dict[str, Any]


def instabilities(states: Sequence[State]) -> list[str]:
    """Say in sentences what went wrong with the machine over the snapshots of one measurement.

    It was throttled where a counter rose, where a cooling device began to slow something down, or where a GPU says so.
    A clock fell where it shows less than 90 % of what it had in the first snapshot, taken under load after the
    warm-up: the fastest CPU's, which is the one that works, and each GPU's, among the snapshots in which that GPU is
    known to have worked. It is hot where a temperature comes within 3 °C of the one at which the kernel slows something
    down. Where nothing of this is readable, nothing is said.
    """
    return [
        *_throttled(states),
        *_cpu_clock(states),
        *_gpu_clocks(states),
        *_over_currents(states),
        *_slowed(states),
        *_hot(states),
        *_power_mode(states),
    ]


def _values(states: Sequence[State], key: str) -> list[Any]:
    """Return the values of a key in the snapshots that have it."""
    return [state[key] for state in states if state.get(key) is not None]


def _risen(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Return by how much each counter rose from the first snapshot to the last; one that started again did not."""
    if not counts:
        return {}
    rises = {kind: counts[-1].get(kind, 0) - before for kind, before in counts[0].items()}
    return {kind: rise for kind, rise in rises.items() if rise > 0}


def _throttled(states: Sequence[State]) -> Iterator[str]:
    fired = sum(_risen(_values(states, "throttle_counts")).values())
    if fired:
        yield f"the CPU was throttled {fired} times"


def _cpu_clock(states: Sequence[State]) -> Iterator[str]:
    yield from _fallen("the CPU clock", [clocks["max"] for clocks in _values(states, "clock_mhz")])


def _gpu_clocks(states: Sequence[State]) -> Iterator[str]:
    snapshots = _values(states, "gpus")
    for name in dict.fromkeys(name for gpus in snapshots for name in gpus):
        gpus = [gpus[name] for gpus in snapshots if name in gpus]
        working = [gpu for gpu in gpus if (gpu.get("load_percent") or 0) >= _AT_WORK_PERCENT]
        yield from _fallen(f"the clock of GPU {name}", _values(working, "clock_mhz"))
        reasons = dict.fromkeys(reason for gpu in gpus for reason in gpu.get("slowed_by") or ())
        if reasons:
            yield f"GPU {name} was slowed down by: {', '.join(reasons)}"


def _fallen(subject: str, clocks: Sequence[float]) -> Iterator[str]:
    if clocks and min(clocks) < _CLOCK_DROP * clocks[0]:
        yield f"{subject} fell from {clocks[0]:.0f} to {min(clocks):.0f} MHz"


def _over_currents(states: Sequence[State]) -> Iterator[str]:
    risen = _risen(_values(states, "over_current_counts"))
    if risen:
        times = ", ".join(f"{kind} {rise} times" for kind, rise in risen.items())
        yield f"the board's over-current protection fired: {times}"


def _slowed(states: Sequence[State]) -> Iterator[str]:
    devices = _values(states, "slowed_by")
    for name, before in (devices[0] if devices else {}).items():
        highest = max(device.get(name, 0) for device in devices)
        if highest > max(before, 0):
            yield f"heat slowed the machine down: {name} went from {before} to {highest}"
        elif before > 0:
            yield f"heat slowed the machine down: {name} was at {before} from the start"


def _hot(states: Sequence[State]) -> Iterator[str]:
    margins: dict[str, float] = {}
    for snapshot in _values(states, "thermal_margins_c"):
        for zone, margin in snapshot.items():
            margins[zone] = min(margin, margins.get(zone, margin))
    near = {zone: margin for zone, margin in margins.items() if margin <= _NEAR_TRIP_C}
    if near:
        zone = min(near, key=lambda name: near[name])
        yield f"{zone} came within {max(0.0, near[zone]):.1f} °C of where the kernel slows the machine down"


def _power_mode(states: Sequence[State]) -> Iterator[str]:
    modes = [mode["id"] for mode in _values(states, "power_mode")]
    if len(set(modes)) > 1:
        yield f"the power mode changed: {' to '.join(str(mode) for mode in dict.fromkeys(modes))}"
