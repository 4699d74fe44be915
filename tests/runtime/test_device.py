"""Facts and states of a machine, from a recorded tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.recorded import FILES, record
from tks_edge_runtime.device import Sampler, facts, instabilities, state


def test_the_facts_of_a_recorded_machine(tmp_path: Path) -> None:
    found = facts(record(tmp_path))
    assert {name: found[name] for name in found if name not in ("architecture", "python", "cores_usable")} == {
        "cpu": "Test CPU 9000",
        "board": None,
        "cores_logical": 4,
        "cores_physical": 2,
        "virtual_machine": False,
        "memory_bytes": 16_384_000_000,
        "os": "Test Linux 1",
        "kernel": "6.1.0-test",
        "governors": ["performance", "powersave"],
        "turbo": True,
        "clock_limit_mhz": 4200.0,
    }


def test_the_state_of_a_recorded_machine(tmp_path: Path) -> None:
    found = state(record(tmp_path))
    del found["time"]
    assert found == {
        "load": [0.5, 0.4, 0.3],
        "memory_available_bytes": 8_192_000_000,
        "clock_mhz": {"min": 1000.0, "mean": 2500.0, "max": 4000.0},
        "governors": ["performance", "powersave"],
        "temperatures_c": {"x86_pkg_temp": 45.5, "acpitz": -3.0, "acpitz (thermal_zone2)": 30.0},
        "throttle_counts": {"core": 6, "package": 20},
    }


def test_clocks_come_from_cpuinfo_where_cpufreq_is_missing(tmp_path: Path) -> None:
    record(tmp_path, {"proc/cpuinfo": FILES["proc/cpuinfo"]})
    assert state(tmp_path)["clock_mhz"] == {"min": 1000.5, "mean": 1002.0, "max": 1003.5}


def test_what_cannot_be_read_is_none_and_never_an_error(tmp_path: Path) -> None:
    known = {"time", "architecture", "python", "cores_usable"}
    for found in (facts(tmp_path), state(tmp_path)):
        assert {name for name, value in found.items() if value is not None} <= known


@pytest.mark.parametrize("text", ["", "\0\0", "no number", "::::\n=\n", "é" * 99, "-", "1.2.3"])
def test_nonsense_in_any_file_is_no_error(tmp_path: Path, text: str) -> None:
    record(tmp_path, dict.fromkeys(FILES, text))
    json.dumps([facts(tmp_path), state(tmp_path)], allow_nan=False)


def test_this_machine_can_be_read() -> None:
    json.dumps([facts(), state()], allow_nan=False)


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


def test_the_sampler_has_a_state_from_before_during_and_after(tmp_path: Path) -> None:
    record(tmp_path)
    with Sampler(tmp_path, period=0.001) as sampler:
        before = sampler.states[0]["time"]
        while len(sampler.states) < 4:
            pass
        sampler.snapshot()
        seen = len(sampler.states)
    assert len(sampler.states) > seen
    times = [s["time"] for s in sampler.states]
    assert len(sampler.between(before, max(times))) == len(times)
    assert sampler.between(max(times) + 1, max(times) + 2) == []
