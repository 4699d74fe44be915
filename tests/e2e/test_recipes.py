"""Every recipe from the files of its data set: two steps with its own network, and from a small one to the report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from tests.e2e.conftest import tks_edge
from tests.tks_edge.original_formats import RECORDING_WRITERS, WRITERS
from tks_edge.data.dataset import Dataset
from tks_edge.data.facts import FACTS
from tks_edge.data.registry import open_dataset
from tks_edge.recipes import RECIPES, read_recipe
from tks_edge.settings import resolve
from tks_edge.trainer import train

SIDE = 32
"""Pixels a side, where the size can be chosen: it is 224 in the recipes."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def data(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """The folder of the recipe's data set, small and in its original format; None for an embedded one."""
    (WRITERS | RECORDING_WRITERS)[recipe](tmp_path / "data", monkeypatch)
    return None if FACTS[read_recipe(recipe).dataset].embedded else tmp_path / "data"


def test_every_recipe_is_tested() -> None:
    events = {name for name in RECIPES if FACTS[read_recipe(name).dataset].events}
    assert (set(RECIPES) - events, events) == (set(WRITERS), set(RECORDING_WRITERS))


# Those of recordings: tests/tks_edge/test_event_recipes.py.
@pytest.mark.parametrize("recipe", WRITERS)
def test_a_recipe_trains_two_steps_with_its_own_network(
    recipe: str, data: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = FACTS[read_recipe(recipe).dataset]
    given = {"recipe": recipe, "epochs": 1, "batch_size": 2, "image_size": SIDE if facts.resizable else None}

    def few(name: str, root: Path | None, **options: object) -> Dataset:
        whole = open_dataset(name, root, **options)  # type: ignore[arg-type]
        assert all(len(split) for split in whole.splits().values())
        return dataclasses.replace(
            whole, train=whole.train.evenly_spaced(4), validation=whole.validation.evenly_spaced(1)
        )

    monkeypatch.setattr("tks_edge.trainer.open_dataset", few)
    settings = resolve(given)
    run = train(settings, tmp_path / "run", data=data)
    assert run.config.train.model == read_recipe(recipe).settings["model"]
    assert run.config.train.recipe == recipe
    summary = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (summary["finished"], len(summary["best"]["validation_accuracy_by_timesteps"])) == (True, settings.timesteps)


@pytest.mark.parametrize("recipe", WRITERS | RECORDING_WRITERS)
def test_a_recipe_leads_to_a_report(recipe: str, data: Path | None, tmp_path: Path) -> None:
    facts = FACTS[read_recipe(recipe).dataset]
    run, artifacts = tmp_path / "runs/run", tmp_path / "artifacts"
    # The recipe's network would take minutes to export; the data set is the same.
    options: list[str | Path] = ["--model", "tiny", "--timesteps", "2", "--epochs", "1", "--output", run]
    options += ["--data", data] if data is not None else []
    options += ["--image-size", str(SIDE)] if facts.resizable else []
    done = tks_edge("train", "--recipe", recipe, *options, cwd=tmp_path)
    assert done.code == 0, done.err
    done = tks_edge("eval", run, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    accuracies = {row["timesteps"]: row for row in done.document["accuracies"] if row["frames"] != "rebin"}
    done = tks_edge("export", run, "--timesteps", "1", "--verify-samples", "2", "--output", artifacts, cwd=tmp_path)
    assert done.code == 0, done.err
    done = tks_edge("report", artifacts, "--preset", "quick", "--output", tmp_path / "report", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    (row,) = done.document["rows"]
    assert row["accuracy"]["correct"] == accuracies[1]["correct"]
    assert row["accuracy"]["total"] == accuracies[1]["total"]
    assert (tmp_path / "report/report.html").is_file()
