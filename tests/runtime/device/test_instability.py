"""What is said of a machine that was not steady while something was measured on it."""

from __future__ import annotations

from typing import Any

import pytest

from tks_edge_runtime.device import instabilities


def snapshot(clock: float | None = None, **throttled: int) -> dict[str, Any]:
    clocks = None if clock is None else {"min": 100.0, "mean": 200.0, "max": clock}
    return {"clock_mhz": clocks, "throttle_counts": throttled or None}


def test_throttling_and_falling_clocks_are_said() -> None:
    states = [snapshot(4000, core=3, package=1), snapshot(3000, core=3, package=1), snapshot(4000, core=5, package=2)]
    assert instabilities(states) == ["the CPU was throttled 3 times", "the CPU clock fell from 4000 to 3000 MHz"]


@pytest.mark.parametrize(
    "states",
    [
        [],
        [snapshot(), snapshot()],
        [snapshot(4000, core=7), snapshot(3601, core=7)],
        [snapshot(2000), snapshot(4000)],
        [snapshot(core=9), snapshot(core=1)],
    ],
    ids=["none", "unreadable", "steady", "rising", "counter started again"],
)
def test_a_steady_machine_gives_no_warning(states: list[dict[str, Any]]) -> None:
    assert instabilities(states) == []


def gpu(clock: float | None, load: float | None = 90, slowed_by: list[str] | None = None) -> dict[str, Any]:
    return {"gpus": {"17000000.gpu": {"clock_mhz": clock, "load_percent": load, "slowed_by": slowed_by}}}


def test_the_clock_of_a_gpu_that_works_is_watched() -> None:
    assert instabilities([gpu(1020), gpu(510), gpu(1020)]) == [
        "the clock of GPU 17000000.gpu fell from 1020 to 510 MHz"
    ]


@pytest.mark.parametrize(
    "states",
    [
        [gpu(1020), gpu(306, load=0), gpu(None, load=0)],
        [gpu(1020, load=None), gpu(306, load=None)],
        [gpu(306, load=2), gpu(1020), gpu(1010)],
    ],
    ids=["it rested", "nothing says whether it worked", "it began to work"],
)
def test_the_clock_of_a_gpu_that_rests_is_not(states: list[dict[str, Any]]) -> None:
    assert instabilities(states) == []


def test_what_a_gpu_says_of_itself_is_said() -> None:
    states = [
        gpu(1800),
        gpu(1790, slowed_by=["power cap"]),
        gpu(1780, slowed_by=["temperature (software)", "power cap"]),
    ]
    assert instabilities(states) == ["GPU 17000000.gpu was slowed down by: power cap, temperature (software)"]


def test_over_currents_are_counted_from_the_first_snapshot() -> None:
    states = [{"over_current_counts": {"oc1": 0, "oc3": 4}}, {"over_current_counts": {"oc1": 1, "oc3": 41}}]
    assert instabilities(states) == ["the board's over-current protection fired: oc1 1 times, oc3 37 times"]
    assert instabilities([states[1], states[1]]) == []
    assert instabilities([states[1], states[0]]) == []


def test_heat_is_said_where_something_is_slowed_down_and_where_it_is_near() -> None:
    cool, hot = {"slowed_by": {"cpu-throttle-alert": 0}}, {"slowed_by": {"cpu-throttle-alert": 1}}
    assert instabilities([cool, cool]) == []
    assert instabilities([cool, hot, cool]) == ["heat slowed the machine down: cpu-throttle-alert went from 0 to 1"]
    assert instabilities([hot, hot]) == ["heat slowed the machine down: cpu-throttle-alert was at 1 from the start"]
    margins = [{"thermal_margins_c": {"cpu-thermal": 40.0, "gpu-thermal": margin}} for margin in (20.0, 2.25, 9.0)]
    assert instabilities(margins) == ["gpu-thermal came within 2.2 °C of where the kernel slows the machine down"]
    assert instabilities([margins[0], margins[2]]) == []


def test_a_power_mode_that_was_changed_is_said() -> None:
    states = [{"power_mode": {"name": "15W", "id": 0}}, {"power_mode": {"name": "MAXN_SUPER", "id": 2}}]
    assert instabilities(states) == ["the power mode changed: 0 to 2"]
    assert instabilities([states[0], {"power_mode": None}, states[0]]) == []
