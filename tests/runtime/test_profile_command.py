"""`profile`: the latency of one artifact, over all its steps and with early exit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import CPU_BACKENDS, Build, BuildSpiking
from tks_edge_runtime.exit_measures import ExitRule
from tks_edge_runtime.exit_rule import CalibratedRule, write_exit_rule
from tks_edge_runtime.files import sha256_of
from tks_edge_runtime.measurement import WarmUp, doubts
from tks_edge_runtime.presets import PRESETS
from tks_edge_runtime.session import load
from tks_edge_runtime.statistics import summarize
from tks_edge_runtime.traces import unpack


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_profile_measures_and_writes_the_trace(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    built, output = build(batch=2), tmp_path / "new" / "latency.json"
    result = invoke("profile", built.path, "--threads", "1", "--backend", backend, "--output", output)
    assert result.exit_code == 0, result.output
    for words in (
        "end to end",
        "compute",
        "p50",
        "throughput",
        "n/a (needs",
        "Single stream",
        f"written: {output}",
        "next: tks-edge report",
    ):
        assert words in result.stdout
    written = json.loads(output.read_text())
    assert written["batch_size"] == 2
    for name, part in (("e2e", "summary"), ("compute", "compute")):
        assert len(unpack(written["latency"]["traces"][name])) == written["latency"][part]["n"]
    assert len(written["device_states"]) >= 2
    assert (written["engine"]["library"], written["engine"]["threads"]) == (backend, "1")
    assert document(invoke("profile", built.path, "--json"))["engine"]["library"] == "onnxruntime"


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_step_artifact_is_profiled_over_all_its_steps(
    build_spiking: BuildSpiking, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    path = build_spiking(timesteps=4, target="openvino").path
    text = invoke("profile", path, "--backend", backend, "--threads", "1").stdout
    assert ("warning: lowered for openvino and run by onnxruntime" in text) == (backend == "onnxruntime")
    assert "spiking, T=4, fp32 step openvino" in text
    assert "A step graph ran all its timesteps for each inference" in text
    found = document(invoke("profile", path, "--steps", "3", "--json", "--backend", backend))
    assert (found["precision"], found["form"], found["target"], found["timesteps"]) == ("fp32", "step", "openvino", 3)


def test_a_file_that_cannot_be_written_ends_with_2(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.1)
    fails(invoke("profile", build().path, "--output", "/dev/null"), 2, "/dev/null")


def keep_rule(artifact: Path, rule: ExitRule, timesteps: int = 4) -> None:
    sha256 = sha256_of(artifact)
    chosen = CalibratedRule(
        sha256, rule.measure, rule.threshold, timesteps, "digits", "validation", 20, 0.5, 20, 19, 1.5
    )
    write_exit_rule(artifact, chosen)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_step_artifact_is_profiled_with_early_exit(
    build_spiking: BuildSpiking, monkeypatch: pytest.MonkeyPatch, backend: str, batch: int
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.05)
    built, rule = build_spiking(batch=batch, samples=30), ExitRule("confidence", 0.5)
    keep_rule(built.path, rule)
    asked = ("profile", built.path, "--early-exit", "--backend", backend, "--threads", "1")
    text = invoke(*asked).stdout
    for words in ("spiking, T<=4, fp32 step", "confidence >= 0.5", "20 samples of digits, validation split", "p50"):
        assert words in text
    assert "With early exit a step graph ran from rest" in text
    assert "warning: latency" not in text
    found = document(invoke(*asked, "--json"))
    exits = found["early_exit"]
    with load(built.path, backend) as session, session.anytime(rule) as anytime:
        expected = anytime.evaluate()
    assert exits["stopped"] == list(expected.stopped)
    assert sum(count > 0 for count in exits["stopped"]) > 1
    assert (exits["correct"], exits["total"]) == (expected.correct, 30)
    assert exits["mean_steps"] == expected.mean_steps
    assert f"{expected.correct} of 30" in text
    assert exits["rule"]["threshold"] == 0.5
    assert document(invoke(*asked[:2], "--json"))["early_exit"] is None


def test_early_exit_needs_a_rule_that_fits(build_spiking: BuildSpiking, build: Build) -> None:
    path = build_spiking(timesteps=4).path
    fails(invoke("profile", path, "--early-exit"), 2, "no spiking-step-fp32.exit.json", "calibrate-exit", "--run RUN")
    fails(invoke("profile", build().path, "--early-exit"), 2, "static graph, which cannot stop", "--form step")
    keep_rule(path, ExitRule("margin", 0.5), timesteps=3)
    fails(invoke("profile", path, "--early-exit", "--steps", "2"), 2, "at most 3", "--timesteps 2")
    path = build_spiking(evaluation=None).path
    keep_rule(path, ExitRule("margin", 0.5))
    fails(invoke("profile", path, "--early-exit"), 2, "without an evaluation set")


def test_too_few_runs_for_the_mix_of_steps_are_mentioned() -> None:
    warm_up = WarmUp(1.0, 10, steady=True)

    def said(runs: int) -> list[str]:
        return list(doubts(summarize([1.0] * runs), warm_up, spinning_together=False, mixed_batches=10))

    assert said(10) == []
    assert [text[:52] for text in said(9)] == ["9 runs are fewer than the 10 batches in rotation, so"]
