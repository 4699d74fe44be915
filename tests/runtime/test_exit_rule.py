"""A rule beside an artifact: read back as it was written, and refused where it is not that artifact's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import BuildSpiking
from tks_edge_runtime.errors import ArtifactError
from tks_edge_runtime.exit_measures import ExitRule
from tks_edge_runtime.exit_rule import CalibratedRule, read_exit_rule, rule_path, write_exit_rule
from tks_edge_runtime.files import sha256_of


def chosen_for(artifact: Path) -> CalibratedRule:
    return CalibratedRule(sha256_of(artifact), "margin", 0.25, 4, "digits", "validation", 20, 0.5, 20, 19, 1.5)


@pytest.fixture
def artifact(build_spiking: BuildSpiking) -> Path:
    return build_spiking().path


def test_it_is_read_back_as_it_was_written(artifact: Path) -> None:
    assert read_exit_rule(artifact) is None
    written = write_exit_rule(artifact, chosen_for(artifact))
    assert written == rule_path(artifact) == artifact.parent / "spiking-step-fp32.exit.json"
    found = read_exit_rule(artifact)
    assert found == chosen_for(artifact)
    assert found is not None
    assert found.rule == ExitRule("margin", 0.25)


def test_one_of_another_artifact_is_refused(artifact: Path, build_spiking: BuildSpiking) -> None:
    write_exit_rule(artifact, chosen_for(artifact))
    build_spiking(seed=1)
    with pytest.raises(ArtifactError, match=r"another artifact than .*tks-edge calibrate-exit .*fp32\.onnx --run RUN"):
        read_exit_rule(artifact)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, r"schema 2; this version reads 1: update tks-edge"),
        ({"schema_version": 0}, r"schema 0; .*: choose it again"),
        ({"schema_version": "1"}, r"schema_version is '1'"),
        ({"measure": "hope"}, r"unknown measure 'hope'"),
        ({"threshold": 1.5}, r"allowed is 0 to 1"),
        ({"threshold": float("nan")}, r"threshold is nan"),
        ({"threshold": None}, r"threshold is None"),
        ({"timesteps": 0}, r"1\.5 steps of T=0"),
        ({"timesteps": 65}, r"steps of T=65"),
        ({"mean_steps": 4.5}, r"4\.5 steps of T=4"),
        ({"mean_steps": 0.5}, r"0\.5 steps"),
        ({"correct": 21}, r"21 and 20 right of 20"),
        ({"correct_at_timesteps": -1}, r"-1 right"),
        ({"samples": 0, "correct": 0, "correct_at_timesteps": 0}, r"right of 0"),
        ({"max_loss": 101.0}, r"101\.0 points"),
        ({"dataset": "\x1b[2Jdigits"}, r"control characters"),
        ({"surprise": 1}, r"unknown field, surprise"),
    ],
)
def test_what_makes_no_sense_is_refused(artifact: Path, changes: dict[str, Any], message: str) -> None:
    path = write_exit_rule(artifact, chosen_for(artifact))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ArtifactError, match=message):
        read_exit_rule(artifact)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": 1}', "[" * 100_000])
def test_a_damaged_file_is_refused(artifact: Path, text: str) -> None:
    rule_path(artifact).write_text(text)
    with pytest.raises(ArtifactError, match=r"exit\.json holds no rule .*Write it again: tks-edge calibrate-exit"):
        read_exit_rule(artifact)


def test_a_folder_in_its_place_is_refused(artifact: Path) -> None:
    rule_path(artifact).mkdir()
    with pytest.raises(ArtifactError, match="holds no rule"):
        read_exit_rule(artifact)
