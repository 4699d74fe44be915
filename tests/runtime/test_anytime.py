"""Early exit: a sample's logits are the mean up to the step at which it stops, whoever shares its batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.conftest import CPU_BACKENDS, BuildSpiking, SpikingArtifact
from tks_edge_runtime.anytime import Anytime
from tks_edge_runtime.artifact import DIRECT, FRAMES, STATIC
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.exit_measures import CONFIDENCE, ENTROPY, MARGIN, MEASURES, ExitRule
from tks_edge_runtime.measure import artifact_batches, measure, method_text
from tks_edge_runtime.session import load

Array = npt.NDArray[Any]
NEVER = ExitRule(ENTROPY, 0.0)
"""No softmax of these logits, which are small, is as sure as that."""
AT_ONCE = ExitRule(CONFIDENCE, 0.0)


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def cut(built: SpikingArtifact, samples: Array, rule: ExitRule, timesteps: int) -> tuple[Array, Array]:
    """What NumPy gives: the means at T = 1, 2, ..., and of each sample the first that passes, or the last."""
    means = np.stack([built.mean(samples, t) for t in range(1, timesteps + 1)])
    passes = rule.passes(means)
    passes[-1] = True
    first = passes.argmax(axis=0)
    return means[first, np.arange(len(samples))], first + 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    measure=st.sampled_from(MEASURES),
    threshold=st.floats(0, 1),
    batch=st.integers(1, 4),
    samples=st.integers(1, 12),
    timesteps=st.integers(1, 6),
    encoding=st.sampled_from([DIRECT, FRAMES]),
    seed=st.integers(0, 1000),
)
def test_every_sample_is_cut_where_the_rule_says(
    build_spiking: BuildSpiking,
    backend: str,
    measure: str,
    threshold: float,
    batch: int,
    samples: int,
    timesteps: int,
    encoding: str,
    seed: int,
) -> None:
    built = build_spiking(timesteps=max(4, timesteps), batch=batch, encoding=encoding, seed=seed)
    given_samples = built.inputs[:samples]
    rule = ExitRule(measure, threshold)
    with load(built.path, backend, threads=1, steps=timesteps) as session, session.anytime(rule) as anytime:
        for inputs in (given_samples, given_samples[::-1]):  # the second run begins where the first left its states
            answers = anytime.run(inputs)
            logits, steps = cut(built, inputs, rule, timesteps)
            np.testing.assert_array_equal(answers.steps, steps)
            np.testing.assert_array_equal(answers.logits, logits)
        assert answers.logits.dtype == np.float32
        found = anytime.run_batch(built.inputs[np.arange(batch) % samples])
        logits, steps = cut(built, built.inputs[np.arange(batch) % samples], rule, timesteps)
        np.testing.assert_array_equal(found, logits)
        np.testing.assert_array_equal(anytime.steps, steps)
        assert anytime.times.compute > 0


def spread(built: SpikingArtifact) -> ExitRule:
    """A rule under which these samples stop at more than two different steps."""
    means = np.stack([built.mean(built.inputs, t) for t in range(1, 5)])
    for threshold in np.linspace(0, 1, 101):
        rule = ExitRule(MARGIN, float(threshold))
        if len(np.unique(cut(built, built.inputs, rule, 4)[1])) > 2:
            return rule
    raise AssertionError(f"no threshold divides {means.shape}")


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("encoding", [DIRECT, FRAMES])
def test_the_evaluation_counts_right_answers_and_steps(
    build_spiking: BuildSpiking, backend: str, batch: int, encoding: str
) -> None:
    built = build_spiking(batch=batch, samples=40, encoding=encoding)
    rule, seen = spread(built), list[float]()
    with load(built.path, backend, threads=1) as session, session.anytime(rule) as anytime:
        found = anytime.evaluate(seen.append)
    logits, steps = cut(built, built.inputs, rule, 4)
    assert found.correct == np.count_nonzero(logits.argmax(axis=1) == built.labels)
    assert found.stopped == tuple(np.count_nonzero(steps == t) for t in (1, 2, 3, 4))
    assert sum(found.stopped) == found.total == 40
    assert sum(count > 0 for count in found.stopped) > 2
    assert found.mean_steps == pytest.approx(steps.mean())
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.parametrize("batch", [1, 4])
def test_a_threshold_that_nothing_reaches_gives_the_whole_run_to_the_bit(
    build_spiking: BuildSpiking, backend: str, batch: int
) -> None:
    built = build_spiking(batch=batch, samples=10)
    with load(built.path, backend, threads=1) as session, session.anytime(NEVER) as anytime:
        answers = anytime.run(built.inputs)
        np.testing.assert_array_equal(answers.logits, session.run(built.inputs))
        assert answers.steps.tolist() == [4] * 10


def test_a_stream_stopped_by_hand_gives_the_same(build_spiking: BuildSpiking, backend: str) -> None:
    built = build_spiking(samples=20)
    rule = spread(built)
    with load(built.path, backend, threads=1) as session, session.anytime(rule) as anytime, session.stream() as stream:
        for image in built.inputs:
            stream.reset()
            stream.step(image[None])
            while stream.steps < 4 and not rule.passes(stream.mean)[0]:
                stream.step()
            np.testing.assert_array_equal(anytime.run_batch(image[None]), stream.mean)
            assert anytime.steps.tolist() == [stream.steps]


def test_a_sample_that_stops_makes_room_for_the_next(build_spiking: BuildSpiking, backend: str) -> None:
    """At T steps each, 12 samples in a batch of 3 take 4 T; here 12 samples that stop at once take 4."""
    built = build_spiking(batch=3)
    with load(built.path, backend, threads=1) as session:
        for rule, steps in ((AT_ONCE, 4), (NEVER, 16), (spread(built), None)):
            with session.anytime(rule) as anytime:
                taken = counted(anytime)
                answers = anytime.run(built.inputs)
            if steps is None:
                # Rows are never empty while samples wait.
                assert answers.steps.sum() / 3 <= len(taken) < answers.steps.sum() / 3 + 4
            else:
                assert len(taken) == steps


def counted(anytime: Anytime) -> list[None]:
    """An entry for every step from now on."""
    stepper, taken = anytime._open_stepper(), list[None]()
    step = stepper.step

    def counting() -> dict[str, Array]:
        taken.append(None)
        return step()

    stepper.step = counting  # type: ignore[method-assign]
    return taken


def test_a_still_image_is_copied_when_it_changes_alone(build_spiking: BuildSpiking) -> None:
    built = build_spiking(batch=2, samples=4)
    with load(built.path, threads=1) as session, session.anytime(NEVER) as anytime:
        stepper, fed = anytime._open_stepper(), list[Array]()
        stepper.feed = lambda feeds: fed.append(feeds["input"])  # type: ignore[method-assign]
        anytime.run(built.inputs)
    np.testing.assert_array_equal(fed, [built.inputs[:2], built.inputs[2:]])


def test_it_shares_nothing_with_the_session_and_outlives_it(build_spiking: BuildSpiking, backend: str) -> None:
    built = build_spiking(batch=2)
    with load(built.path, backend, threads=1) as session:
        one, other = session.anytime(AT_ONCE), session.anytime(NEVER)
        session.run(built.inputs)
    for anytime, steps in ((one, 1), (other, 4), (one, 1)):
        np.testing.assert_array_equal(anytime.run(built.inputs).logits, built.mean(built.inputs, steps))
    one.close()
    one.close()
    for call in (one.run, one.run_batch):
        with pytest.raises(InputError, match=r"closed; open another one with Session\.anytime"):
            call(built.inputs[:2])


def test_it_is_timed_like_a_session_and_its_spread_is_no_warning(build_spiking: BuildSpiking, backend: str) -> None:
    built = build_spiking(samples=40)
    with load(built.path, backend, threads=1) as session, session.anytime(spread(built)) as anytime:
        assert np.isnan(anytime.first_ms)
        (measured,) = measure([anytime], [artifact_batches(session.artifact, count=40)], seconds=0.2)
        text = " ".join(method_text([anytime], 0.2))
        both = " ".join(method_text([anytime, session], 0.2))
        assert anytime.describe() == session.describe()
    assert measured.summary.n > 40
    assert measured.cold_start.first_ms == anytime.first_ms > 0
    assert measured.compute is not None
    assert not any("latency" in warning for warning in measured.warnings)
    assert "and its latency spreads for that reason alone" in text
    assert "all its timesteps" not in text
    assert "all its timesteps" in both


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8), np.uint8), np.zeros((0, 1, 8, 8), np.uint8), [[1]]])
def test_what_does_not_fit_is_refused(build_spiking: BuildSpiking, images: Any) -> None:
    with load(build_spiking().path) as session, session.anytime(NEVER) as anytime:
        for call in (anytime.run, anytime.run_batch):
            with pytest.raises(InputError, match="the input is"):
                call(images)


def test_a_static_artifact_cannot_stop_early(build_spiking: BuildSpiking) -> None:
    with (
        load(build_spiking(form=STATIC).path) as session,
        pytest.raises(InputError, match=r"static graph, unrolled at T=4: it cannot stop early\. Export it with --form"),
    ):
        session.anytime(NEVER)


def test_a_state_without_a_row_for_each_sample_is_refused(build_spiking: BuildSpiking) -> None:
    with load(build_spiking(batch=2).path) as session:
        first, second = session.manifest.states
        states = (first, dataclasses.replace(second, shape=(1, 16)))
        manifest = dataclasses.replace(session.manifest, states=states)
        session.artifact = dataclasses.replace(session.artifact, manifest=manifest)
        with pytest.raises(
            ArtifactError, match=r"the state 'body\.1' is \[1, 16\], which is no row for each of 2 samp"
        ):
            session.anytime(NEVER)
