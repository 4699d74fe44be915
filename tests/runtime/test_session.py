"""A session gives the graph's logits for any number of samples, and refuses everything else clearly."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.conftest import CLASSES, CPU_BACKENDS, Build, BuildSpiking
from tks_edge_runtime.anytime import ExitRule
from tks_edge_runtime.artifact import STEP, TensorSpec
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.session import load

# A matrix product of 64 terms, summed in another order than NumPy's.
assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 5), samples=st.integers(1, 12))
def test_any_number_of_samples_fits_any_static_batch(build: Build, batch: int, samples: int, backend: str) -> None:
    built = build(batch=batch, samples=12)
    with load(built.path, backend) as session:
        logits = session.run(built.inputs[:samples])
    assert logits.dtype == np.float32
    assert_close(logits, built.logits(built.inputs[:samples]))


def test_run_batch_runs_exactly_one_batch(build: Build) -> None:
    built = build(batch=3)
    with load(built.path) as session:
        assert_close(session.run_batch(built.inputs[:3]), built.logits(built.inputs[:3]))
        with pytest.raises(InputError, match=r"uint8\[2, 1, 8, 8\]; expected is one batch of uint8\[3, 1, 8, 8\]"):
            session.run_batch(built.inputs[:2])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[1, 2]], "list, not a NumPy array"),
        (np.zeros((1, 8, 8), np.uint8), r"uint8\[1, 8, 8\]"),
        (np.zeros((1, 8, 8, 1), np.uint8), r"uint8\[1, 8, 8, 1\]"),
        (np.zeros((0, 1, 8, 8), np.uint8), r"uint8\[0, 1, 8, 8\]"),
        (np.zeros((1, 1, 8, 8), np.float32), r"float32\[1, 1, 8, 8\]"),
        (np.array(3, np.uint8), r"uint8\[\]"),
    ],
)
def test_a_wrong_input_names_what_was_got_and_what_is_expected(build: Build, images: Any, message: str) -> None:
    with load(build().path) as session, pytest.raises(InputError, match=message) as caught:
        session.run(images)
    assert "expected is any number of samples of uint8[1, 1, 8, 8] (NCHW: raw pixels, 0 to 255)" in str(caught.value)


def test_predictions_are_the_softmax_of_the_logits_best_first(build: Build) -> None:
    built = build()
    expected = np.exp(built.logits(built.inputs))
    expected /= expected.sum(axis=1, keepdims=True)
    with load(built.path) as session:
        predictions = session.predict(built.inputs, top_k=4)
        best = session.predict(built.inputs)
    for row, found, only in zip(expected, predictions, best, strict=True):
        assert [p.index for p in found] == list(np.argsort(-row))
        assert [p.label for p in found] == [CLASSES[p.index] for p in found]
        assert_close([p.confidence for p in found], np.sort(row)[::-1])
        assert only == found[:1]


@pytest.mark.parametrize("top_k", [0, 5, -1])
def test_a_top_k_beyond_the_classes_is_refused(build: Build, top_k: int) -> None:
    built = build()
    with load(built.path) as session, pytest.raises(InputError, match=f"top_k is {top_k}; .* 1 to 4"):
        session.predict(built.inputs, top_k)


@pytest.mark.parametrize("batch", [1, 4])
def test_evaluate_counts_the_correct_samples(build: Build, batch: int) -> None:
    fractions: list[float] = []
    with load(build(batch=batch, samples=10, wrong=3).path) as session:
        evaluation = session.evaluate(fractions.append)
    assert (evaluation.correct, evaluation.total) == (7, 10)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_the_self_test_passes_on_the_golden_pair_and_fails_on_another(build: Build, backend: str) -> None:
    built = build()
    golden = built.path.with_name(built.manifest.golden_file)
    with load(built.path, backend) as session:
        passed = session.self_test()
        np.savez(golden, input=built.inputs[:1], logits=built.logits(built.inputs[:1]) + np.float32(0.01))
        failed = session.self_test()
        np.savez(golden, input=built.inputs[:1], logits=np.zeros((1, 3), np.float32))
        with pytest.raises(ArtifactError, match=r"logits has the shape \[1, 3\], not \[1, 4\]"):
            session.self_test()
    assert passed.passed
    assert passed.max_difference <= passed.tolerance < 0.01
    assert not failed.passed
    assert failed.max_difference == pytest.approx(0.01, rel=1e-3)


def test_a_wider_tolerance_of_the_export_is_honoured(build: Build) -> None:
    verification = build().manifest.verification
    assert verification is not None
    with load(build(verification=dataclasses.replace(verification, logit_tolerance=0.5)).path) as session:
        assert session.self_test().tolerance == 0.5


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_loading_and_the_first_inference_are_timed_once(build: Build, backend: str) -> None:
    built = build()
    with load(built.path, backend) as session:
        assert session.load_ms > 0
        assert np.isnan(session.first_ms)
        session.run(built.inputs)
        first = session.first_ms
        session.run(built.inputs)
        assert session.first_ms == first > 0


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_manifest_of_another_graph_is_refused(build: Build, backend: str) -> None:
    for changes in (
        {"classes": ("a", "b")},
        {"input": TensorSpec("input", (1, 1, 9, 9), "uint8", "NCHW", "raw pixels"), "preprocessing": None},
        {"input": TensorSpec("input", (1, 1, 8, 8), "int16", "NCHW", "raw pixels")},
        {"outputs": ()},
    ):
        with pytest.raises(ArtifactError, match="its graph is not what its manifest says"):
            load(build(**changes).path, backend)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_session_may_be_closed_again_and_runs_nothing_afterwards(
    build: Build, build_spiking: BuildSpiking, backend: str
) -> None:
    rule = ExitRule("margin", 0.5)
    for built in (build(), build_spiking()):
        with load(built.path, backend) as session:
            session.run(built.inputs[:1])
            session.close()
        session.close()
        uses: list[Callable[[], object]] = [
            functools.partial(session.run, built.inputs),
            functools.partial(session.run_batch, built.inputs[:1]),
        ]
        if built.manifest.form == STEP:
            uses += [session.stream, functools.partial(session.anytime, rule)]
        for use in uses:
            with pytest.raises(InputError, match=rf"the session of {built.path.name} is closed; open another one"):
                use()


def test_describe_says_how_it_runs(build: Build) -> None:
    path = build().path
    with load(path) as alone, load(path, threads=1, spinning=False) as together:
        assert alone.describe()["spinning"] == "on"
        assert (together.describe()["threads"], together.describe()["spinning"]) == ("1", "off")


@pytest.mark.parametrize(("backend", "flips"), [("onnxruntime", 300), ("openvino", 100)])
def test_a_damaged_file_is_an_artifact_error_whatever_is_damaged(build: Build, backend: str, flips: int) -> None:
    built = build()
    data, chance = built.path.read_bytes(), random.Random(0)  # noqa: S311 - no secret
    for length in range(0, len(data), 101):
        built.path.write_bytes(data[:length])
        with pytest.raises(ArtifactError):
            load(built.path, backend)
    for _ in range(flips):
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        built.path.write_bytes(flipped)
        try:
            with load(built.path, backend, threads=1) as session:
                session.run(built.inputs[:1])
        except ArtifactError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - a flip in the weights is no error
