"""`run`: what a network sees in image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import CLASSES, Build, BuildSpiking


def test_run_names_the_classes(build: Build, image: Path) -> None:
    built = build()
    result = invoke("run", built.path, image)
    assert result.exit_code == 0
    assert "image[1].png" in result.stdout
    assert sum(f" {name} " in result.stdout for name in CLASSES) == 3
    assert result.stdout.endswith(f"next: tks-edge profile {built.path}\n")


def test_run_gives_one_json_document(build: Build, image: Path) -> None:
    built = build()
    found = document(invoke("run", built.path, image, image, "--top-k", "2", "--json"))
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    best = int(built.logits(pixels).argmax())
    assert [entry["image"] for entry in found["predictions"]] == [str(image)] * 2
    assert [len(entry["classes"]) for entry in found["predictions"]] == [2, 2]
    assert found["predictions"][0]["classes"][0]["index"] == best


def test_run_shows_all_classes_where_there_are_fewer(build: Build, image: Path) -> None:
    found = document(invoke("run", build().path, image, "--top-k", "99", "--json"))
    assert len(found["predictions"][0]["classes"]) == 4


def test_a_step_artifact_is_run_for_as_many_steps_as_asked(
    build_spiking: BuildSpiking, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_spiking(timesteps=4)
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    for asked, timesteps in (((), 4), (("--steps", "2"), 2)):
        found = document(invoke("run", built.path, image, "--top-k", "4", "--json", *asked))
        assert (found["form"], found["target"], found["timesteps"]) == ("step", "generic", timesteps)
        shifted = np.exp(built.mean(pixels, timesteps)[0].astype(np.float64))
        confidences = [entry["confidence"] for entry in found["predictions"][0]["classes"]]
        assert confidences == pytest.approx(sorted(shifted / shifted.sum(), reverse=True))
    fails(invoke("run", built.path, image, "--steps", "5"), 2, "steps is 5", "was exported for 1 to 4")
    fails(invoke("run", built.path, image, "--steps", "0"), 2, "steps is 0")


def test_a_static_artifact_is_not_run_for_other_steps(build: Build, image: Path) -> None:
    path = build(timesteps=2).path
    assert document(invoke("run", path, image, "--json", "--steps", "2"))["form"] == "static"
    fails(invoke("run", path, image, "--steps", "1"), 2, "static graph of T=2", "--form step")
    fails(invoke("profile", path, "--steps", "1"), 2, "static graph of T=2")
