"""Machine facts and device states, as the rows of text that a report shows."""

from __future__ import annotations

import dataclasses

from tks_edge_runtime.energy import EnergyUse
from tks_edge_runtime.reporting.document import DeviceStates
from tks_edge_runtime.reporting.facts import fact_table, state_table
from tks_edge_runtime.reporting.wording import NONE, accuracy, energy, milliseconds, rate, size, times


def test_facts_carry_their_units_and_what_is_unknown_is_a_dash() -> None:
    facts = {
        "memory_bytes": 8_000_000_000,
        "clock_limit_mhz": 2400.0,
        "turbo": False,
        "board": None,
        "governors": ["performance", "powersave"],
        "temperatures_c": {"cpu": 45.5},
        "power_mode": {"name": "MAXN_SUPER", "id": 2},
        "rails_mw": {"VDD_IN": 5143.488},
        "rails_mv": {"VDD_IN": 4984},
        "fan_rpm": {"pwm_tach": 1636},
        "gpus": {"17000000.gpu": {"load_percent": 41.2, "slowed_by": []}},
    }
    assert fact_table(facts) == [
        ("memory (GB)", "8"),
        ("clock limit (MHz)", "2400"),
        ("turbo", "no"),
        ("board", NONE),
        ("governors", "performance, powersave"),
        ("temperatures, cpu (°C)", "45.5"),
        ("power mode, name", "MAXN_SUPER"),
        ("power mode, id", "2"),
        ("rails, VDD_IN (mW)", "5143.49"),
        ("rails, VDD_IN (mV)", "4984"),
        ("fan, pwm tach (rpm)", "1636"),
        ("gpus, 17000000.gpu, load (%)", "41.2"),
        ("gpus, 17000000.gpu, slowed by", NONE),
    ]


def test_states_show_the_range_while_measuring() -> None:
    during = (
        {"time": 2.0, "load": [1.0, 0.5], "governors": ["powersave"], "clock_mhz": None},
        {"time": 3.0, "load": [2.0, 0.5], "governors": ["performance"], "clock_mhz": {"max": 2000.0}},
    )
    states = DeviceStates(
        {"time": 1.0, "load": [0.5, 0.5], "governors": ["powersave"]}, during, {"time": 4.0, "load": None}
    )
    assert state_table(states) == [
        ("load", "0.5, 0.5", "1 to 2, 0.5", NONE),
        ("governors", "powersave", "powersave / performance", NONE),
        ("clock (MHz)", NONE, NONE, NONE),
        ("clock, max (MHz)", NONE, "2000", NONE),
    ]


def test_numbers_keep_three_digits_and_never_an_exponent() -> None:
    assert [milliseconds(value) for value in (0.00123, 0.0523, 0.2, 1.234, 56.78, 1234.5)] == [
        "0.0012", "0.0523", "0.200", "1.23", "56.8", "1234",
    ]  # fmt: skip
    assert [size(value) for value in (999, 123_456, 45_600_000)] == ["1.0 kB", "123.5 kB", "45.6 MB"]
    assert [rate(value) for value in (0.4721, 47.29, 472.6, 10_473.2)] == ["0.47", "47.3", "473", "10 473"]
    assert times(0.472) == "0.47\N{MULTIPLICATION SIGN}"
    assert milliseconds(None) == accuracy(None) == times(None) == NONE


def test_an_energy_has_its_spread_and_no_sign_where_it_is_nothing() -> None:
    use = EnergyUse("vdd_in", "module rail", "board", 12.34, 0.456, 6, 9.0, 4.0)
    assert energy(use) == "12.3 ±0.456"
    assert energy(dataclasses.replace(use, mj=-0.5, spread_mj=None)) == "-0.500"
    assert energy(dataclasses.replace(use, mj=-0.00001, spread_mj=0.0)) == "0.0000 ±0.0000"
    assert energy(None) == NONE
