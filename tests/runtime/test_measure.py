"""The latency protocol, on a clock that only moves when something runs."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests.runtime.conftest import CPU_BACKENDS, Build, BuildSpiking
from tests.runtime.recorded import record
from tks_edge_runtime import energy, runner
from tks_edge_runtime.backends import RunTimes
from tks_edge_runtime.device import Sampler
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.measure import artifact_batches, measure, method_text, rotation
from tks_edge_runtime.measurement import ColdStart, Measurement
from tks_edge_runtime.presets import PRESETS, preset_seconds
from tks_edge_runtime.session import Session, load
from tks_edge_runtime.stream import Stream
from tks_edge_runtime.traces import unpack


class Clock:
    """Wall time and process time in ns, what the sessions took in J besides idling, and who ran when."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0
        self.joules = 0.0
        self.log: list[tuple[str, int]] = []


class FakeSession:
    """Takes `durations` in ms, one after the other and the last for ever; uses two cores.

    Of each, `parts` are the shares of computing, enqueueing and copying.
    """

    length_varies = False

    def __init__(
        self,
        clock: Clock,
        name: str,
        *durations: float,
        parts: tuple[float, float | None, float | None] = (1.0, None, None),
        watts: float = 0.0,
        on_run: Any = None,
    ) -> None:
        self.load_ms, self.first_ms, self.build_ms = 7.0, 9.0, 5.0
        self.times = RunTimes(0)
        self._clock, self._name, self._durations, self._on_run = clock, name, list(durations), on_run
        self._parts, self._watts = parts, watts

    def run_batch(self, batch: int) -> None:
        duration = int(1e6 * (self._durations.pop(0) if len(self._durations) > 1 else self._durations[0]))
        self._clock.wall += duration
        self._clock.cpu += 2 * duration
        self._clock.joules += self._watts * duration / 1e9
        self.times = RunTimes(*(None if part is None else int(part * duration) for part in self._parts))  # type: ignore[arg-type]
        self._clock.log.append((self._name, batch))
        if self._on_run is not None:
            self._on_run()

    def describe(self) -> dict[str, str]:
        return {"spinning": "on"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (runner, energy):
        monkeypatch.setattr(module, "perf_counter_ns", lambda: clock.wall)
    monkeypatch.setattr(runner, "process_time_ns", lambda: clock.cpu)
    return clock


def run(*sessions: FakeSession, seconds: float = 3.0, batches: Any = None, **options: Any) -> list[Measurement]:
    rotations = batches or [[0]] * len(sessions)
    return measure(cast(list[Session], list(sessions)), rotations, seconds=seconds, **options)


def blocks_of(log: list[tuple[str, int]]) -> str:
    names = "".join(name for name, _ in log)
    return "".join(name for place, name in enumerate(names) if place == 0 or names[place - 1] != name)


def test_a_steady_session_is_measured_for_the_time_asked(clock: Clock) -> None:
    measured = run(FakeSession(clock, "a", 10.0))[0]
    assert measured.summary.n == len(measured.trace_ms) == 300
    assert set(measured.trace_ms) == {10.0}
    assert (measured.cpu_ms, measured.cpu_ms_min) == (20.0, 20.0)
    assert measured.cold_start == ColdStart(7.0, 9.0, 5.0)
    assert not measured.energy
    assert measured.warm_up.steady
    assert not measured.warnings
    assert not measured.unstable


def test_sessions_take_turns_in_the_order_a_b_b_a(clock: Clock) -> None:
    measured = run(FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 30.0), FakeSession(clock, "c", 20.0))
    order = blocks_of(clock.log)
    # The warm-up is a, b, c, and so is the first round; from one round to the next the last session goes on.
    assert order.startswith("abcabcbabcbabc")
    for session in measured:
        assert sum(session.trace_ms) == pytest.approx(3000, rel=0.25)


def test_the_first_run_of_a_block_is_not_timed(clock: Clock) -> None:
    measured = run(FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 10.0))
    rounds = 30
    for name, session in zip("ab", measured, strict=True):
        runs = sum(1 for who, _ in clock.log if who == name)
        assert runs == session.warm_up.runs + session.summary.n + rounds


def test_blocks_are_as_long_as_the_slowest_run(clock: Clock) -> None:
    fast, slow = run(FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 500.0))
    assert fast.summary.n == 300
    assert slow.summary.n == 6


def test_inputs_are_rotated(clock: Clock) -> None:
    run(FakeSession(clock, "a", 50.0), batches=[[0, 1, 2]])
    assert [batch for _, batch in clock.log[:7]] == [0, 1, 2, 0, 1, 2, 0]


def test_warm_up_lasts_200_ms_and_10_runs_at_least(clock: Clock) -> None:
    fast, slow = run(FakeSession(clock, "a", 1.0), FakeSession(clock, "b", 100.0))
    window = 0.5
    assert fast.warm_up.seconds == pytest.approx(0.2 + 2 * window)
    assert slow.warm_up.seconds == pytest.approx(10 * 0.1 + 2 * window)


def test_warm_up_goes_on_until_two_medians_agree(clock: Clock) -> None:
    cooling = [10.0 + 40.0 * 0.9**k for k in range(400)]
    measured = run(FakeSession(clock, "a", *cooling, 10.0), seconds=10.0)[0]
    assert measured.warm_up.steady
    assert measured.warm_up.seconds > 2.2
    assert max(measured.trace_ms) < 10.3


@pytest.mark.parametrize("seconds", [PRESETS["standard"], PRESETS["long"]])
def test_warm_up_compares_windows_of_a_second_unless_the_measurement_is_short(clock: Clock, seconds: float) -> None:
    measured = run(FakeSession(clock, "a", 10.0), seconds=seconds)[0]
    assert measured.warm_up.seconds == pytest.approx(0.2 + 2 * 1.0)


@pytest.mark.parametrize(("seconds", "limit"), [(3.0, 3.0), (10.0, 30.0), (60.0, 30.0)])
def test_warm_up_ends_without_a_steady_state_and_says_so(clock: Clock, seconds: float, limit: float) -> None:
    growing = [10.0 * 1.002**k for k in range(20_000)]
    warm_up = run(FakeSession(clock, "a", *growing), seconds=seconds)[0].warm_up
    assert not warm_up.steady
    assert limit <= warm_up.seconds < limit + 1.5


def test_a_restless_session_is_warned_of(clock: Clock) -> None:
    restless = [10.0, 20.0] * 5000
    measured = run(FakeSession(clock, "a", *restless))[0]
    (warning,) = (warning for warning in measured.warnings if warning.startswith("latency varies: "))
    assert "standard deviation 33.4% of the mean (more than 2.5%), interquartile range" in warning
    assert not measured.unstable


def test_compute_enqueue_and_copies_are_traced_beside_the_whole(clock: Clock) -> None:
    measured = run(FakeSession(clock, "a", 10.0, 20.0, 10.0, parts=(0.5, 0.1, 0.2)))[0]
    for part, share in ((measured.compute, 0.5), (measured.enqueue, 0.1), (measured.copies, 0.2)):
        assert part is not None
        assert part.summary.p50 == pytest.approx(10 * share)
        assert list(part.ms) == pytest.approx([share * time for time in measured.trace_ms])
    assert not measured.warnings


def test_what_an_engine_does_not_measure_is_none(clock: Clock) -> None:
    host = run(FakeSession(clock, "a", 10.0))[0]
    assert host.compute is not None
    assert (host.enqueue, host.copies) == (None, None)
    assert run(FakeSession(clock, "a", 10.0, parts=(0.0, None, None)))[0].compute is None


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((0.5, 0.41, None), "handing a run to the device takes 82% of what computing it takes (more than 80%)"),
        ((0.5, 0.39, None), None),
        ((0.3, None, 0.3), "copying sets the pace: inputs and outputs take 3 ms, computing 3 ms"),
        ((0.3, None, 0.29), None),
    ],
)
def test_a_device_that_waits_for_the_host_is_warned_of(clock: Clock, parts: Any, words: str | None) -> None:
    warnings = run(FakeSession(clock, "a", 10.0, parts=parts))[0].warnings
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]


def test_a_measurement_as_long_as_loadgens_has_as_many_runs(clock: Clock) -> None:
    """LoadGen's single stream: 600 s, and the 64 runs of its 90th percentile."""
    slow, fast = run(FakeSession(clock, "a", 20_000.0), FakeSession(clock, "b", 5_000.0), seconds=600.0)
    assert slow.summary.n >= 64
    assert slow.summary.p90 is not None
    assert fast.summary.n >= slow.summary.n
    assert run(FakeSession(clock, "a", 20_000.0), seconds=60.0)[0].summary.n < 64


def test_an_outlier_stays_in_the_trace(clock: Clock) -> None:
    measured = run(FakeSession(clock, "a", *[10.0] * 200, 900.0, 10.0))[0]
    assert measured.summary.max == 900.0


def test_spinning_sessions_in_turns_are_warned_of(clock: Clock) -> None:
    together = run(FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 10.0))
    assert all(any("spinning" in warning for warning in m.warnings) for m in together)


def test_a_throttled_machine_marks_every_row_unstable(clock: Clock, tmp_path: Path) -> None:
    counter = record(tmp_path) / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"

    def throttle() -> None:
        if len(clock.log) > 500:
            counter.write_text("3")

    sessions = FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 10.0, on_run=throttle)
    with Sampler(tmp_path) as sampler:
        measured = run(*sessions, sampler=sampler)
    for session in measured:
        assert session.unstable
        assert "the CPU was throttled 3 times" in session.warnings


def test_progress_only_grows_and_ends_at_one(clock: Clock) -> None:
    seen: list[float] = []
    run(FakeSession(clock, "a", 10.0), FakeSession(clock, "b", 10.0), on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_no_time_is_refused(clock: Clock, seconds: float) -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        run(FakeSession(clock, "a", 10.0), seconds=seconds)


def test_nothing_to_measure_is_refused(clock: Clock) -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        run()
    with pytest.raises(InputError, match="nothing to measure"):
        run(FakeSession(clock, "a", 10.0), batches=[[]])


def test_presets_are_those_of_the_protocol() -> None:
    assert PRESETS == {"quick": 3.0, "standard": 10.0, "long": 60.0, "mlperf": 600.0}
    assert preset_seconds("long") == 60
    with pytest.raises(InputError, match=r"unknown preset 'quik'. Did you mean 'quick'"):
        preset_seconds("quik")


def test_real_sessions_are_measured_on_their_real_inputs(build: Build) -> None:
    one, two = build(timesteps=1, batch=4), build(timesteps=2)
    with load(one.path, threads=1, spinning=False) as first, load(two.path, threads=1, spinning=False) as second:
        sessions = [first, second]
        measured = measure(sessions, [rotation(s) for s in sessions], seconds=0.2)
        text = " ".join(method_text(sessions, 0.2))
    for session in measured:
        document = json.loads(json.dumps(session.to_dict(include_trace=True), allow_nan=False))
        traces = {name: unpack(trace) for name, trace in document["traces"].items() if trace is not None}
        assert traces.keys() == {"e2e", "compute"}
        for name, part in (("e2e", "summary"), ("compute", "compute")):
            assert document[part]["n"] == len(traces[name])
            assert document[part]["p50"] == pytest.approx(statistics.median(traces[name]), rel=5e-4)
        assert all(compute <= e2e for compute, e2e in zip(traces["compute"], traces["e2e"], strict=True))
        assert (document["enqueue"], document["copies"], document["energy"]) == (None, None, [])
        assert document["cold_start"]["build_ms"] is None
        assert document["cold_start"]["load_ms"] > 0
        assert document["cpu_ms_min"] <= document["cpu_ms"]
        assert "traces" not in session.to_dict(include_trace=False)
        assert not any("spinning" in warning for warning in session.warnings)
    assert "one batch of 1 or 4 at a time" in text
    assert "A B B A" in text
    assert "spinning off" in text
    assert "p90 needs 64, p95 needs 130, p99 needs 662, p99.9 needs 6636" in text


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_step_artifact_is_timed_over_all_its_steps_with_its_states_kept(
    build_spiking: BuildSpiking, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[bool] = []
    step = Stream.step

    def counted(stream: Stream, frame: Any = None) -> Any:
        copied.append(frame is not None)
        return step(stream, frame)

    monkeypatch.setattr(Stream, "step", counted)
    with load(build_spiking(timesteps=4).path, backend, threads=1, steps=3) as session:
        (measured,) = measure([session], [rotation(session)], seconds=0.05)
        text = " ".join(method_text([session], 0.05))
    runs = measured.warm_up.runs + measured.summary.n
    assert copied == [True, False, False] * runs
    assert "A step graph ran all its timesteps for each inference, from rest, its states staying" in text


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("quick", "Warm-up, shortened because the measurement is short: at least 200 ms and 10 runs, then until the "
         "medians of two consecutive windows of 0.5 s differed by less than 2%, at most 3 s."),
        ("standard", "Warm-up: at least 200 ms and 10 runs, then until the medians of two consecutive windows of 1 s "
         "differed by less than 2%, at most 30 s."),
    ],
)  # fmt: skip
def test_the_method_says_which_warm_up_was_used(build: Build, preset: str, words: str) -> None:
    with load(build().path) as session:
        assert words in " ".join(method_text([session], PRESETS[preset]))


def test_batches_are_real_samples_and_the_last_is_filled_up(build: Build) -> None:
    built = build(batch=4, samples=10)
    with load(built.path) as session:
        batches = rotation(session)
        few = artifact_batches(session.artifact, count=2)
    assert [batch.shape for batch in batches] == [(4, 1, 8, 8)] * 3
    np.testing.assert_array_equal(np.concatenate(batches), built.inputs[[*range(10), 0, 1]])
    assert len(few) == 2


def test_few_batches_are_spread_over_the_set(build: Build) -> None:
    built = build(batch=2, samples=10)
    with load(built.path) as session:
        np.testing.assert_array_equal(
            np.concatenate(artifact_batches(session.artifact, count=2)), built.inputs[[0, 3, 6, 9]]
        )


def test_without_an_evaluation_set_the_golden_input_is_used(build: Build) -> None:
    built = build(evaluation=None)
    with load(built.path) as session:
        np.testing.assert_array_equal(np.concatenate(rotation(session)), built.inputs[:1])
        built.path.with_name(built.manifest.golden_file).unlink()
        with pytest.raises(ArtifactError, match="is missing"):
            artifact_batches(session.artifact)
