"""Recipes: complete, valid, each setting with its source; and `tks-edge recipes`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tks_edge.checkpoint import CONFIG, SUMMARY
from tks_edge.data.expected import EXPECTED
from tks_edge.data.facts import FACTS
from tks_edge.recipes import RECIPES, read_recipe
from tks_edge.settings import resolve

pytestmark = pytest.mark.usefixtures("few_digits")


def invoke(app: typer.Typer, *arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_a_recipe_names_its_source_once(name: str) -> None:
    recipe = read_recipe(name)
    named = [setting for settings in recipe.sources.values() for setting in settings]
    assert sorted(named) == sorted(recipe.settings)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_resolves_to_valid_settings(name: str) -> None:
    recipe = read_recipe(name)
    settings = resolve({"recipe": name})
    assert (settings.recipe, settings.dataset) == (name, recipe.dataset)
    for setting, value in recipe.settings.items():
        if setting not in ("lr_per_1024", "loss_options", "lif", "frames"):
            assert getattr(settings, setting) == value, setting
    assert all(0 < result.accuracy < 100 for result in recipe.published)


def test_every_data_set_has_a_recipe_of_its_name() -> None:
    assert set(FACTS) <= set(RECIPES)


def test_what_is_downloaded_has_a_place_to_download_from() -> None:
    for name, expected in EXPECTED.items():
        if FACTS[name].downloads:
            assert all(file.url for file in expected.files), name
        for file in expected.files:
            assert len(file.digest) == {"md5": 32, "sha256": 64}[file.algorithm]


def test_the_list_names_every_recipe_and_the_published_results(app: typer.Typer, in_folder: Path) -> None:
    result = invoke(app, "recipes")
    assert result.exit_code == 0, result.stderr
    for name in RECIPES:
        assert f" {name} " in result.stdout
    assert "69.60 %" in result.stdout
    assert "69.60 %, TKS, SEW-ResNet-34, T=4" in invoke(app, "recipes", "imagenet").stdout
    rows = {row["recipe"]: row for row in json.loads(invoke(app, "recipes", "--json").stdout)["recipes"]}
    assert set(rows) == set(RECIPES)
    assert (rows["imagenet"]["model"], rows["imagenet"]["timesteps"]) == ("sew_resnet34", 4)
    assert not any(row["yours"] for row in rows.values())


@pytest.mark.parametrize("columns", [40, 80])
def test_no_cell_of_the_list_is_cut(columns: int, app: typer.Typer, in_folder: Path) -> None:
    text = CliRunner().invoke(app, ["recipes"], env={"COLUMNS": str(columns)}).stdout
    table = text.partition("published: on")[0]
    for name in RECIPES:
        settings = resolve({"recipe": name})
        cells = (name, settings.model, str(settings.timesteps), settings.loss, str(settings.epochs))
        assert re.search(rf"^ {' +'.join(cells)} ", table, re.MULTILINE), name
    assert columns < 80 or max(map(len, table.splitlines())) <= columns


def test_yours_are_finished_spiking_runs_of_the_recipe_the_best_first(app: typer.Typer, in_folder: Path) -> None:
    quick = ("--timesteps", "2", "--batch-size", "16", "--output")
    for name, more in (("a", ("--epochs", "2")), ("b", ("--epochs", "1")), ("twin", ("--epochs", "1"))):
        options = ("--neuron", "relu", "--batch-size", "16", "--output") if name == "twin" else quick
        assert invoke(app, "train", *more, *options, f"runs/{name}").exit_code == 0
    unfinished, damaged = Path("runs/unfinished"), Path("runs/damaged")
    for path in (unfinished, damaged):
        path.mkdir()
        (path / CONFIG).write_bytes(Path("runs/a", CONFIG).read_bytes())
    (damaged / SUMMARY).write_text('{"finished": true}')
    foreign = json.loads(Path("runs/a", CONFIG).read_text())
    foreign["train"]["dataset"], foreign["plugins"] = "stripes", {"dataset": "a-plugin-that-is-not-here 1.0"}
    Path("runs/foreign").mkdir()
    Path("runs/foreign", CONFIG).write_text(json.dumps(foreign))
    best = {name: json.loads(Path("runs", name, SUMMARY).read_text())["best"] for name in ("a", "b")}
    shares = {f"runs/{name}": entry["validation_accuracy"] for name, entry in best.items()}

    (yours,) = (
        row["yours"]
        for row in json.loads(invoke(app, "recipes", "--json").stdout)["recipes"]
        if row["recipe"] == "digits"
    )
    assert {entry["run"]: entry["validation_accuracy"] for entry in yours} == shares
    assert yours[0]["validation_accuracy"] == max(shares.values())
    assert (yours[0]["model"], yours[0]["timesteps"]) == ("tiny", 2)
    text = invoke(app, "recipes").stdout
    assert f"{max(shares.values()):.2%} tiny, T=2" in text
    assert yours[0]["run"] in text
    assert f"yours: {max(shares.values()):.2%} of the validation split" in invoke(app, "recipes", "digits").stdout


def test_one_recipe_in_full(app: typer.Typer, in_folder: Path) -> None:
    text = " ".join(invoke(app, "recipes", "stanford-cars").stdout.split())
    for said in ("cars_train.tgz (979,269,282 bytes, SHA256", "stanford_cars/ in the folder of --data", "ours"):
        assert said in text
    document = json.loads(invoke(app, "recipes", "cifar100", "--json").stdout)
    settings = document["settings"]
    assert settings["model"] == {
        "value": "resnet19",
        "source": "the command and the code of the TKS authors, github.com/Brain-Cog-Lab/TKS",
    }
    assert settings["lr"]["value"] == resolve({"recipe": "cifar100"}).lr
    assert settings["lr"]["source"].endswith("0.005 x batch size / 1024")
    assert settings["weight_decay"] == {"value": 0.01, "source": "default"}
    assert [file["name"] for file in document["files"]] == ["cifar-100-python.tar.gz"]
    assert "next: tks-edge train --recipe cifar100 --download" in invoke(app, "recipes", "cifar100").stdout
    assert "comes with the program" in invoke(app, "recipes", "digits").stdout
    assert "--recipe folder --data FOLDER" in invoke(app, "recipes", "folder").stdout


def test_a_recipe_of_ones_own_is_shown(app: typer.Typer, in_folder: Path) -> None:
    Path("mine.toml").write_text('title = "Mine"\ndataset = "digits"\n[settings]\nmodel = "tiny"\nepochs = 3\n')
    result = invoke(app, "recipes", "mine.toml")
    assert result.exit_code == 0, result.stderr
    assert "mine.toml: Mine" in result.stdout
    assert "train --recipe mine.toml" in result.stdout


def test_an_unknown_recipe_is_one_clear_line(app: typer.Typer, in_folder: Path) -> None:
    result = invoke(app, "recipes", "cifar")
    assert (result.exit_code, "Did you mean 'cifar10'?" in result.stderr) == (2, True)
