"""Each recipe for recordings, for two steps on a small set in its original format: trained, and evaluated both ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tks_edge.short_training import Watched
from tests.tks_edge.test_event_sets import write_caltech, write_cifar, write_folder
from tks_edge.accuracy import evaluate_views
from tks_edge.data import dvs_cifar10, ncaltech101
from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import reopen
from tks_edge.evaluation import evaluate
from tks_edge.settings import resolve
from tks_edge.trainer import train
from tks_edge.views import views

_SMALLER = {"epochs": 1, "timesteps": 2}


@pytest.mark.parametrize(
    ("recipe", "written", "batch_size"),
    [
        ("dvs-cifar10", lambda base: write_cifar(base, each=2), 4),
        ("ncaltech101", lambda base: write_caltech(base, each=5), 5),
        ("event-folder", write_folder, 5),
    ],
)
def test_a_recipe_trains_and_is_evaluated(
    recipe: str,
    written: Callable[[Path], None],
    batch_size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dvs_cifar10, "_EACH", 2)
    monkeypatch.setattr(ncaltech101, "_RECORDINGS", 15)
    monkeypatch.setattr(ncaltech101, "_CLASSES", 3)
    written(tmp_path / "data")
    settings = resolve({"recipe": recipe, "batch_size": batch_size, "image_size": 16, **_SMALLER})
    _check(settings.to_json(), recipe)
    watched = Watched()
    run = train(settings, tmp_path / "run", data=tmp_path / "data", watcher=watched)
    assert watched.steps == 2
    dataset = reopen(run.config.dataset)
    first, rebinned = (
        evaluate_views(run, dataset, dataset.test, views(run, [1, 2], way)) for way in ("first", "rebin")
    )
    assert first.labels.tolist() == list(dataset.test.labels)
    assert first.predictions[1].tolist() == rebinned.predictions[1].tolist()


def test_the_recipe_of_digits_dvs_trains(few_digits_dvs: Dataset, tmp_path: Path) -> None:
    settings = resolve({"dataset": "digits-dvs", "batch_size": 24, **_SMALLER})
    _check(settings.to_json(), "digits-dvs")
    watched = Watched()
    run = train(settings, tmp_path / "run", watcher=watched)
    assert watched.steps == 2
    accuracies = evaluate(run.network, few_digits_dvs.test, [1, 2]).accuracies()
    assert [entry.total for entry in accuracies] == [30, 30]


def _check(settings: dict[str, object], recipe: str) -> None:
    model, augment = ("tiny", "events-upright") if recipe == "digits-dvs" else ("vggsnn", "events")
    assert (settings["model"], settings["augment"]) == (model, augment)
    assert settings["frames"] == {"cut": "time", "fewer": "first"}
