"""Energy by blocks, from a meter whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from tests.runtime.test_measure import Clock, FakeSession, clock  # noqa: F401 - a fixture
from tks_edge_runtime.energy import BLOCK_SECONDS, Covers, EnergyUse
from tks_edge_runtime.measure import measure, method_text
from tks_edge_runtime.measurement import Measurement
from tks_edge_runtime.session import Session


@dataclass(frozen=True)
class FakeSource:
    name: str
    label: str
    covers: Covers


class FakeMeter:
    """Counts what the clock's sessions took and `idle` W on top; `noise` adds to what each reading rises by, in J."""

    sources: tuple[FakeSource, ...] = (
        FakeSource("vdd_in", "module rail VDD_IN, not wall", "board"),
        FakeSource("mute", "a rail that cannot be read", "part"),
    )

    def __init__(self, clock: Clock, idle: float, noise: float = 0.0) -> None:  # noqa: F811
        self.asked: list[tuple[int, float]] = []
        self._clock, self._idle, self._noise = clock, idle, noise
        self._drift = 0.0
        self._reads = 0

    def read(self) -> dict[str, float]:
        self._reads += 1
        self._drift += self._noise * (-1) ** (self._reads // 2)
        return {"vdd_in": self._idle * self._clock.wall / 1e9 + self._clock.joules + self._drift}

    def mean_watts(self, seconds: float) -> dict[str, float]:
        self.asked.append((len(self._clock.log), seconds))
        self._clock.wall += int(seconds * 1e9)
        return {"vdd_in": self._idle}


def run(meter: FakeMeter | None, *sessions: FakeSession, seconds: float = 3.0) -> list[Measurement]:
    batches: Any = [[0]] * len(sessions)
    return measure(cast(list[Session], list(sessions)), batches, seconds=seconds, energy=meter)


def only(measured: Measurement) -> EnergyUse:
    (use,) = measured.energy
    return use


def test_each_session_gets_the_energy_of_its_own_blocks_less_idling(clock: Clock) -> None:  # noqa: F811
    meter = FakeMeter(clock, idle=2.0)
    frugal, hungry = run(meter, FakeSession(clock, "a", 10.0, watts=5.0), FakeSession(clock, "b", 20.0, watts=8.0))
    use = only(frugal)
    assert (use.source, use.label) == ("vdd_in", "module rail VDD_IN, not wall")
    assert use.mj == pytest.approx(5.0 * 10)
    assert only(hungry).mj == pytest.approx(8.0 * 20)
    assert use.watts == pytest.approx(7.0)
    assert use.idle_watts == 2.0
    assert use.spread_mj == pytest.approx(0, abs=1e-6)
    assert use.blocks == 3.0 / BLOCK_SECONDS
    assert not any("energy" in warning for warning in frugal.warnings)


def test_the_idle_power_is_measured_once_before_anything_runs(clock: Clock) -> None:  # noqa: F811
    meter = FakeMeter(clock, idle=2.0)
    run(meter, FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 10.0), seconds=10.0)
    assert meter.asked == [(0, 2.0)]


def test_blocks_are_long_enough_for_a_sensor_of_power(clock: Clock) -> None:  # noqa: F811
    measured = run(FakeMeter(clock, idle=2.0), FakeSession(clock, "a", 10.0, watts=1.0), seconds=10.0)[0]
    assert only(measured).blocks == 20
    assert measured.summary.n == 1000


def test_energy_that_varies_or_is_lost_in_idling_is_warned_of(clock: Clock) -> None:  # noqa: F811
    varying = run(FakeMeter(clock, idle=2.0, noise=1.0), FakeSession(clock, "a", 10.0, watts=5.0))[0]
    spread = only(varying).spread_mj
    assert spread is not None
    assert spread > 10
    assert any("varies: standard deviation" in warning and "over 6 blocks" in warning for warning in varying.warnings)
    lost = run(FakeMeter(clock, idle=2.0), FakeSession(clock, "a", 10.0, watts=-0.5))[0]
    assert only(lost).mj == pytest.approx(-5.0)
    assert any("no more than idling took (2 W)" in warning for warning in lost.warnings)


class FakeMeterOfNothing(FakeMeter):
    """A machine on which nothing can be read."""

    sources = ()


def test_where_nothing_can_be_read_blocks_stay_short_and_nothing_is_claimed(clock: Clock) -> None:  # noqa: F811
    meter = FakeMeterOfNothing(clock, idle=2.0)
    measured = run(meter, FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 10.0))
    assert [one.energy for one in measured] == [(), ()]
    assert meter.asked == []


def test_the_method_names_the_sources_and_says_how(clock: Clock) -> None:  # noqa: F811
    sentences = " ".join(method_text([], 3.0, FakeMeter(clock, idle=2.0)))
    assert "Energy (module rail VDD_IN, not wall; a rail that cannot be read)" in sentences
    assert "blocks of at least 0.5 s" in sentences
    assert "the mean of 2 s before the warm-up" in sentences
    for nothing in (None, FakeMeterOfNothing(clock, idle=2.0)):
        assert "Energy was not measured" in " ".join(method_text([], 3.0, nothing))
