"""`info`: what an artifact says about itself."""

from __future__ import annotations

from pathlib import Path

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import Build, BuildSpiking


def test_info_shows_the_manifest(build: Build) -> None:
    built = build()
    text = invoke("info", built.path).stdout
    for words in (
        "small",
        "2 (trained at 8)",
        "LIF: tau 2",
        "reset by subtraction",
        "80.00% (8 of 10)",
        "digits, test split",
    ):
        assert words in text
    assert document(invoke("info", built.path, "--json"))["manifest"]["timesteps"] == 2
    built.path.with_name(built.manifest.golden_file).unlink()
    assert "missing beside the artifact" in invoke("info", built.path).stdout


def test_info_shows_the_states_of_a_step_artifact(build_spiking: BuildSpiking) -> None:
    text = invoke("info", build_spiking(skipped_passes=("fold_batch_norm",)).path).stdout
    for words in (
        "step: one timestep, its 2 states as inputs and outputs",
        "state.body.1 to state.body.1.out: float32 [1, 16], 0 at first",
        "generic",
        "fold_batch_norm",
    ):
        assert words in text


def test_an_artifact_that_takes_no_images_says_so(build: Build, image: Path) -> None:
    path = build(preprocessing=None).path
    assert "none are taken" in invoke("info", path).stdout
    fails(invoke("run", path, image), 2, "this artifact takes uint8[1, 1, 8, 8]", "not image files")
