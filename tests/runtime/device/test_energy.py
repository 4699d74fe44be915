"""Energy: the integral of a rail's power, and counters that start again at their end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.runtime.device.trees import copied, tree
from tests.runtime.recorded import record
from tks_edge_runtime.device import EnergyMeter
from tks_edge_runtime.device.energy_source import EnergySource, Probe
from tks_edge_runtime.device.integral import Counter, Power
from tks_edge_runtime.device.rapl import unreadable
from tks_edge_runtime.device.tree import Tree

RAPL = "sys/class/powercap/intel-rapl:0/energy_uj"
POWER = Probe(EnergySource("rail", "a rail", "power", "part"), lambda: None)


def counter(wraps_at: float | None) -> Counter:
    return Counter(Probe(EnergySource("counter", "a counter", "counter", "part"), lambda: None, wraps_at))


def test_the_module_comes_first_and_is_not_called_the_wall() -> None:
    sources = {name: EnergyMeter(tree(name)).sources for name in ("orin-nano", "thor", "x86-pc")}
    assert sources["orin-nano"][0] == EnergySource("VDD_IN", "module rail VDD_IN, not wall", "power", "board")
    assert sources["thor"][0] == EnergySource("VIN", "board input VIN, not wall", "power", "board")
    assert [source.name for source in sources["orin-nano"]] == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert [(source.name, source.kind) for source in sources["x86-pc"]] == [
        ("package-0", "counter"),
        ("dram-0", "counter"),
    ]
    assert [source.covers for source in sources["orin-nano"]] == ["board", "part", "part"]
    assert [source.covers for source in sources["x86-pc"]] == ["processor", "part"]


def test_a_power_is_integrated_by_trapezoids() -> None:
    power = Power(POWER, longest_gap=2.0)
    readings = [(10.0, 4.0), (11.0, 6.0), (11.5, 6.0), (12.5, 0.0)]
    energies = []
    for now, watts in readings:
        power.take(now, watts)
        energies.append(power.joules)
    assert energies == [0.0, 5.0, 8.0, 11.0]


def test_a_reading_that_fails_is_bridged_for_a_moment_and_not_for_long() -> None:
    power = Power(POWER, longest_gap=2.0)
    power.take(0.0, 4.0)
    power.take(1.0, None)
    seen = [power.joules]
    for now in (1.5, 4.0, 4.1):
        power.take(now, 4.0)
        seen.append(power.joules)
    # Nobody knows what it was in the 2.5 s before the last two.
    assert seen == [None, 6.0, None, None]


def test_an_energy_whose_beginning_was_not_seen_is_not_given() -> None:
    power, joules = Power(POWER, longest_gap=2.0), counter(None)
    for meter in (power, joules):
        meter.take(0.0, None)
        meter.take(1.0, 5.0)
        meter.take(2.0, 6.0)
        assert meter.joules is None


def test_a_counter_is_followed_past_its_end() -> None:
    joules = counter(wraps_at=100.0)
    for now, value in enumerate([90.0, 95.0, 3.0, 13.0]):
        joules.take(float(now), value)
    past_its_end = joules.joules
    joules.take(4.0, None)
    unreadable_now = joules.joules
    joules.take(5.0, 14.0)
    assert (past_its_end, unreadable_now, joules.joules) == (23.0, None, 24.0)


def test_a_counter_that_starts_again_without_a_known_end_has_lost_count() -> None:
    joules = counter(wraps_at=None)
    for now, value in enumerate([90.0, 95.0, 3.0, 4.0]):
        joules.take(float(now), value)
    assert joules.joules is None


def test_the_energy_of_a_steady_rail_is_its_power_times_the_time_up_to_the_reading() -> None:
    watts = 4.984 * 1.032
    before = time.perf_counter()
    with EnergyMeter(tree("orin-nano"), period=0.001) as meter:
        entered = time.perf_counter()
        time.sleep(0.05)
        called = time.perf_counter()
        first = meter.read()["VDD_IN"]
        returned = time.perf_counter()
        second = meter.read()["VDD_IN"]
    assert watts * (called - entered) <= first <= watts * (returned - before)
    assert first < second <= meter.read()["VDD_IN"] == meter.read()["VDD_IN"]


def test_the_thread_sees_a_power_that_came_and_went(tmp_path: Path) -> None:
    root = copied("orin-nano", tmp_path)
    current = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input"
    current.write_text("0\n")
    with EnergyMeter(root, period=0.001) as meter:
        for _ in range(100):
            current.write_text("2000\n")
            time.sleep(0.01)
            current.write_text("0\n")
            # This reading is one of 0 W, as the first was: what it adds was read in between.
            if meter.read()["VDD_IN"] > 0:
                return
    pytest.fail("nothing was read between two readings")


def test_the_mean_power_of_a_while(tmp_path: Path) -> None:
    root = copied("orin-nano", tmp_path)
    with EnergyMeter(root) as meter:
        idle = meter.mean_watts(0.01)
        (root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr3_input").write_text("garbled")
        assert set(meter.mean_watts(0.001)) == {"VDD_IN", "VDD_CPU_GPU_CV"}
    assert set(idle) == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}
    assert idle["VDD_IN"] == pytest.approx(4.984 * 1.032)


def test_rapl_counts_and_starts_again(tmp_path: Path) -> None:
    root = copied("x86-pc", tmp_path)
    with EnergyMeter(root, period=60) as meter:
        assert meter.read() == {"package-0": 0.0, "dram-0": 0.0}
        (root / RAPL).write_text("262143000000\n")
        before = meter.read()["package-0"]
        (root / RAPL).write_text("1000000\n")
        assert meter.read()["package-0"] - before == pytest.approx(1.32885)


def test_a_counter_that_only_root_may_read_is_absent_and_named(tmp_path: Path) -> None:
    root = record(tmp_path, {RAPL: "", "sys/class/powercap/intel-rapl:0/name": "package-0"})
    assert EnergyMeter(root).sources == ()
    assert unreadable(Tree(root)) == [RAPL]


def test_before_the_block_nothing_is_known() -> None:
    meter = EnergyMeter(tree("orin-nano"))
    assert meter.read() == {}


def test_rails_without_a_label_a_current_or_a_connection_are_none(tmp_path: Path) -> None:
    folder = "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon2"
    texts = {"in1_label": "NC", "in1_input": "5000", "curr1_input": "1", "in2_label": "VDD_A", "in2_input": "5000"}
    more = {"in3_input": "5000", "curr3_input": "100", "in7_label": "sum of shunt voltages", "in7_input": "1"}
    record(tmp_path, {f"{folder}/{name}": text for name, text in {**texts, **more}.items()})
    assert EnergyMeter(tmp_path).sources == ()
