"""Step artifacts: T steps are the static graph at T, and a stream keeps its states from call to call."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.conftest import CPU_BACKENDS, BuildSpiking
from tests.runtime.spiking import SAMPLE, SpikingNetwork
from tks_edge_runtime.artifact import METADATA_KEY, STATIC, StateSpec, TensorSpec
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.measure import rotation
from tks_edge_runtime.session import load
from tks_edge_runtime.stream import Stream

Array = npt.NDArray[Any]


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def frames(count: int, batch: int = 1, seed: int = 0) -> list[Array]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (batch, *SAMPLE), dtype=np.uint8) for _ in range(count)]


def run(stream: Stream, sequence: Sequence[Array]) -> Array:
    return np.stack([stream.step(frame) for frame in sequence])


def test_the_network_of_these_tests_has_a_memory_and_reads_its_frames() -> None:
    network, sequence = SpikingNetwork.random(0), frames(8)
    logits = network.logits(sequence)
    assert not np.array_equal(logits[4:], network.logits(sequence[4:]))
    assert not np.array_equal(logits, network.logits(sequence[:1] * 8))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(timesteps=st.integers(1, 6), batch=st.integers(1, 3), seed=st.integers(0, 1000))
def test_t_steps_are_the_static_graph_to_the_bit(
    build_spiking: BuildSpiking, backend: str, timesteps: int, batch: int, seed: int
) -> None:
    wanted = {"timesteps": timesteps, "batch": batch, "seed": seed}
    stepped, unrolled = build_spiking(**wanted), build_spiking(form=STATIC, **wanted)
    with load(stepped.path, backend, threads=1) as one, load(unrolled.path, backend, threads=1) as other:
        logits = one.run(stepped.inputs)
        np.testing.assert_array_equal(logits, other.run(stepped.inputs))
        assert one.timesteps == other.timesteps == timesteps
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, stepped.mean(stepped.inputs, timesteps))


def test_the_times_of_a_stream_are_those_of_its_steps_since_the_reset(
    build_spiking: BuildSpiking, backend: str
) -> None:
    built = build_spiking(timesteps=4)
    with load(built.path, backend, threads=1) as session, session.stream() as stream:
        assert stream.times.compute == 0
        spent = []
        for frame in frames(3):
            stream.step(frame)
            spent.append(stream.times.compute)
        assert 0 < spent[0] < spent[1] < spent[2]
        stream.reset()
        assert stream.times.compute == 0
        session.run_batch(built.inputs[:1])
        assert session.times.compute > 0


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_step_artifact_runs_at_any_smaller_t(build_spiking: BuildSpiking, backend: str, steps: int) -> None:
    built = build_spiking(timesteps=4)
    with load(built.path, backend, threads=1, steps=steps) as session:
        assert session.timesteps == steps
        np.testing.assert_array_equal(session.run(built.inputs), built.mean(built.inputs, steps))
        assert session.self_test().max_difference == 0


@pytest.mark.parametrize("steps", [0, 5, -1])
def test_a_t_that_was_not_exported_is_refused(build_spiking: BuildSpiking, steps: int) -> None:
    with pytest.raises(InputError, match=rf"steps is {steps}; .* was exported for 1 to 4\."):
        load(build_spiking(timesteps=4).path, steps=steps)


def test_a_static_artifact_runs_at_its_own_t_alone(build_spiking: BuildSpiking) -> None:
    path = build_spiking(form=STATIC, timesteps=2).path
    with load(path, steps=2) as session:
        assert session.timesteps == 2
    with pytest.raises(InputError, match=r"static graph of T=2 and cannot run at T=1\. Export it with --tim"):
        load(path, steps=1)


def test_a_step_artifact_is_predicted_evaluated_and_tested_like_a_static_one(
    build_spiking: BuildSpiking, backend: str
) -> None:
    found = []
    for form in (STATIC, "step"):
        built = build_spiking(form=form, batch=5)
        with load(built.path, backend, threads=1) as session:
            assert np.isnan(session.first_ms)
            test, first = session.self_test(), session.first_ms
            found.append((session.evaluate(), session.predict(built.inputs, top_k=4), test))
            assert session.first_ms == first > 0
            assert test.passed
    assert found[0] == found[1]
    assert found[0][0].correct == 12


@pytest.mark.parametrize("batch", [1, 5])
def test_a_step_artifact_of_frames_takes_one_a_step(build_spiking: BuildSpiking, backend: str, batch: int) -> None:
    built = build_spiking(encoding="frames", batch=batch)
    with load(built.path, backend, threads=1) as session, load(built.path, backend, threads=1, steps=2) as shorter:
        assert session.manifest.batch.shape == (batch, 4, *SAMPLE)
        np.testing.assert_array_equal(session.run(built.inputs), built.mean(built.inputs, 4))
        np.testing.assert_array_equal(shorter.run(built.inputs), built.mean(built.inputs, 2))
        assert session.evaluate().correct == len(built.inputs)
        assert session.self_test().max_difference == shorter.self_test().max_difference == 0
        assert [one.shape for one in rotation(session)] == [(batch, 4, *SAMPLE)] * (12 if batch == 1 else 3)
        with pytest.raises(InputError, match=rf"expected is one batch of uint8\[{batch}, 4, 1, 8, 8\] \(NTCHW"):
            session.run_batch(built.inputs[:batch, 0])
        with session.stream() as stream:
            first = np.ascontiguousarray(built.inputs[:batch, 0])
            np.testing.assert_array_equal(stream.step(first), built.network.logits([first])[0])


def test_a_stream_goes_on_from_where_it_stopped(build_spiking: BuildSpiking, backend: str) -> None:
    built, sequence = build_spiking(batch=2), frames(7, batch=2)
    expected = built.network.logits(sequence)
    with load(built.path, backend, threads=1) as session, session.stream() as stream:
        assert stream.steps == 0
        for t, frame in enumerate(sequence):
            logits = stream.step(frame)
            assert stream.steps == t + 1
            assert logits.dtype == np.float32
            np.testing.assert_array_equal(logits, expected[t])
            mean = stream.mean
            assert mean.dtype == np.float32
            np.testing.assert_array_equal(mean, expected[: t + 1].sum(axis=0) / np.float32(t + 1))


def test_reset_is_a_new_stream_however_often(build_spiking: BuildSpiking, backend: str) -> None:
    built, sequence = build_spiking(), frames(5)
    with load(built.path, backend, threads=1) as session, session.stream() as stream:
        first = run(stream, sequence)
        for taken in (1, 2, 3, 4):
            stream.reset()
            assert stream.steps == 0
            np.testing.assert_array_equal(run(stream, sequence[:taken]), first[:taken])
        stream.reset()
        np.testing.assert_array_equal(run(stream, sequence), first)
        np.testing.assert_array_equal(stream.mean, first.sum(axis=0) / np.float32(5))


def test_a_frame_is_repeated_where_none_is_given(build_spiking: BuildSpiking, backend: str) -> None:
    built = build_spiking()
    (frame,) = frames(1)
    with load(built.path, backend, threads=1) as session, session.stream() as stream:
        given = frame.copy()
        stream.step(given)
        given[:] = 0
        stream.step()
        stream.step()
        np.testing.assert_array_equal(stream.mean, built.mean(frame, 3))


def test_streams_do_not_disturb_each_other_nor_the_session(build_spiking: BuildSpiking, backend: str) -> None:
    built = build_spiking()
    sequences = [frames(6, seed=seed) for seed in range(3)]
    found: list[list[Array]] = [[], [], []]
    with load(built.path, backend, threads=1) as session:
        streams = [session.stream() for _ in sequences]
        for t in range(6):
            for index, stream in enumerate(streams):
                if index == 1 and t == 3:
                    stream.reset()
                found[index].append(stream.step(sequences[index][t]))
            np.testing.assert_array_equal(session.run(built.inputs[:1]), built.mean(built.inputs[:1], 4))
        streams[0].close()
        streams[2].step(sequences[2][0])
    expected = [built.network.logits(sequence) for sequence in sequences]
    expected[1] = np.concatenate(
        [built.network.logits(sequences[1][:3]), built.network.logits(sequences[1][3:])], axis=0
    )
    np.testing.assert_array_equal(found, expected)


def test_streams_in_several_threads_mix_nothing_up(build_spiking: BuildSpiking, backend: str) -> None:
    built = build_spiking()
    sequences = [frames(20, seed=seed) for seed in range(4)]
    with load(built.path, backend, threads=1) as session:

        def streamed(sequence: list[Array]) -> Array:
            with session.stream() as stream:
                return run(stream, sequence)

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(streamed, sequences))
            means = list(pool.map(session.run_batch, [image[None] for image in built.inputs]))
    np.testing.assert_array_equal(found, [built.network.logits(sequence) for sequence in sequences])
    np.testing.assert_array_equal(np.concatenate(means), built.mean(built.inputs, 4))


def test_logits_and_means_are_the_callers_own(build_spiking: BuildSpiking, backend: str) -> None:
    built, sequence = build_spiking(), frames(6)
    with load(built.path, backend, threads=1) as session, session.stream() as stream:
        logits = [stream.step(sequence[0])]
        logits[0][:] = 99
        stream.mean[:] = 99
        logits += [stream.step(frame) for frame in sequence[1:]]
        mean = stream.mean
    expected = built.network.logits(sequence)
    np.testing.assert_array_equal(logits[1:], expected[1:])
    np.testing.assert_array_equal(mean, expected.sum(axis=0) / np.float32(6))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ([[1, 2]], "list, not a NumPy array"),
        (np.zeros((1, 8, 8), np.uint8), r"uint8\[1, 8, 8\]; expected is one batch of uint8\[1, 1, 8, 8\]"),
        (np.zeros((2, 1, 8, 8), np.uint8), r"uint8\[2, 1, 8, 8\]"),
        (np.zeros((1, 1, 8, 8), np.float32), r"float32\[1, 1, 8, 8\]"),
    ],
)
def test_a_wrong_frame_is_refused_and_is_no_step(
    build_spiking: BuildSpiking, backend: str, frame: Any, message: str
) -> None:
    built, sequence = build_spiking(), frames(3)
    with load(built.path, backend, threads=1) as session, session.stream() as stream:
        stream.step(sequence[0])
        with pytest.raises(InputError, match=message):
            stream.step(frame)
        assert stream.steps == 1
        np.testing.assert_array_equal(run(stream, sequence[1:]), built.network.logits(sequence)[1:])


def test_a_stream_without_a_step_has_no_mean_and_nothing_to_repeat(build_spiking: BuildSpiking) -> None:
    with load(build_spiking().path) as session, session.stream() as stream:
        for _ in range(2):
            with pytest.raises(InputError, match="there is no mean yet"):
                _ = stream.mean
            with pytest.raises(InputError, match="the first step of a stream needs a frame"):
                stream.step()
            stream.step(frames(1)[0])
            stream.reset()


def test_a_closed_stream_says_so_and_an_open_one_outlives_its_session(
    build_spiking: BuildSpiking, backend: str
) -> None:
    built, sequence = build_spiking(), frames(4)
    with load(built.path, backend, threads=1) as session:
        stream = session.stream()
        session.run(built.inputs)
    np.testing.assert_array_equal(run(stream, sequence), built.network.logits(sequence))
    mean = stream.mean
    stream.close()
    stream.close()
    np.testing.assert_array_equal(stream.mean, mean)
    for call in (lambda: stream.step(sequence[0]), stream.reset):
        with pytest.raises(InputError, match="the stream is closed; open another one"):
            call()


def test_a_static_artifact_has_no_stream(build_spiking: BuildSpiking, backend: str) -> None:
    with (
        load(build_spiking(form=STATIC).path, backend) as session,
        pytest.raises(InputError, match=r"static graph, unrolled at T=4: .* Export it with --form step\."),
    ):
        session.stream()


def test_float_frames_are_taken_where_the_graph_takes_them(build_spiking: BuildSpiking, backend: str) -> None:
    spec = TensorSpec("input", (1, *SAMPLE), "float32", "NCHW", "raw pixels, 0 to 255")
    built, sequence = build_spiking(input=spec), frames(4)
    onnx.save(built.network.step_graph(1, {METADATA_KEY: built.manifest.to_json()}, dtype="float32"), built.path)
    with load(built.path, backend, threads=1) as session, session.stream() as stream:
        logits = run(stream, [frame.astype(np.float32) for frame in sequence])
    np.testing.assert_array_equal(logits, built.network.logits(sequence))


STATE = SpikingNetwork.random(0).states(1)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (STATE[:1], r"it has an input state\.body\.1 float32\[1, 16\] too many"),
        (
            (*STATE, StateSpec("body.2", "state.body.2", "state.body.2.out", (1, 16), "float32")),
            r"it has no input state\.body\.2 float32\[1, 16\]",
        ),
        ((STATE[0], dataclasses.replace(STATE[1], shape=(1, 8))), r"it has no input state\.body\.1 float32\[1, 8\]"),
        ((STATE[0], dataclasses.replace(STATE[1], dtype="float16")), r"it has no input state\.body\.1 float16\[1, 16"),
    ],
)
def test_a_graph_whose_states_are_not_the_manifests_is_refused(
    build_spiking: BuildSpiking, backend: str, states: tuple[StateSpec, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        load(build_spiking(states=states).path, backend)
    assert len(str(caught.value).splitlines()) == 1


LOGITS = TensorSpec("logits", (1, 4), "float32", "NK", "logits of the step")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((LOGITS, dataclasses.replace(LOGITS, name="spikes")), r"it has no output spikes float32\[1, 4\]"),
        ((dataclasses.replace(LOGITS, dtype="float16"),), r"it has no output logits float16\[1, 4\]"),
        ((), r"it has an output logits float32\[1, 4\] too many"),
    ],
)
def test_a_graph_whose_outputs_are_not_the_manifests_is_refused(
    build_spiking: BuildSpiking, backend: str, outputs: tuple[TensorSpec, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        load(build_spiking(outputs=outputs).path, backend)


def test_a_static_graph_with_a_step_manifest_and_the_reverse_are_refused(
    build_spiking: BuildSpiking, backend: str, tmp_path: Path
) -> None:
    stepped, unrolled = build_spiking(), build_spiking(form=STATIC, folder=tmp_path / "static")
    for built, manifest in ((stepped, unrolled.manifest), (unrolled, stepped.manifest)):
        path = tmp_path / f"{built.manifest.form}.onnx"
        shutil.copy(built.path, path)
        model = onnx.load(path)
        model.metadata_props[0].value = manifest.to_json()
        onnx.save(model, path)
        with pytest.raises(ArtifactError, match="its graph is not what its manifest says"):
            load(path, backend)
