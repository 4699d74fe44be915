"""A training that begins with the network and the weights of a run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.tks_edge.short_training import short
from tks_edge.checkpoint import load_run
from tks_edge.settings import resolve
from tks_edge.start import settings_from
from tks_edge.trainer import train
from tks_edge_runtime.errors import InputError

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    train(short(epochs=1, lif={"tau": 1.5}), Path("runs/mine"))
    return Path("runs/mine")


def invoke(app: typer.Typer, *arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["finetune", *arguments, "--json"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.stderr
    document: dict[str, object] = json.loads(result.stdout)
    return document


def test_it_begins_with_the_weights_and_trains_with_tks(app: typer.Typer, begun: Path) -> None:
    started = load_run(begun)
    still = ("--epochs", "1", "--lr", "1e-9", "--weight-decay", "0", "--batch-size", "16", "--timesteps", "3")
    invoke(app, str(begun), *still)
    made = load_run("runs/mine-tks")
    assert (made.config.train.loss, made.config.train.timesteps, made.config.train.lif) == (
        "tks",
        3,
        started.config.train.lif,
    )
    assert (made.config.train.start, made.config.start) == (str(begun), started.weights_sha256())
    assert made.network.spec == started.network.spec
    weights = started.network.state_dict()
    for name, tensor in made.network.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(tensor, weights[name], atol=1e-6), name


def test_its_usual_settings_are_gentler_than_the_recipes(begun: Path) -> None:
    usual, made = resolve({"dataset": "digits"}), settings_from(load_run(begun), {})
    assert made.epochs == math.ceil(usual.epochs / 4)
    assert math.isclose(made.lr, usual.lr / 10)
    assert (made.dataset, made.model, made.timesteps, made.loss) == ("digits", "tiny", 8, "tks")


def test_the_twin_of_a_run(app: typer.Typer, begun: Path) -> None:
    invoke(app, str(begun), "--neuron", "relu", "--epochs", "1")
    made = load_run("runs/mine-relu")
    assert not made.network.is_spiking
    assert (made.config.train.lif, made.config.train.timesteps) == (None, 1)


def test_it_goes_on_where_it_was_cut_off_without_the_run_it_began_with(app: typer.Typer, begun: Path) -> None:
    from tests.tks_edge.short_training import Watched

    settings = settings_from(load_run(begun), {"epochs": 2, "batch_size": 16, "timesteps": 2, "threads": 1})
    whole = train(settings, Path("runs/whole")).weights_sha256()
    with pytest.raises(KeyboardInterrupt):
        train(settings, Path("runs/cut"), watcher=Watched(stop=2))
    begun.rename("runs/elsewhere")
    assert train(settings, Path("runs/cut"), resume=True).weights_sha256() == whole


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dataset": "cifar10"}, "dataset is that of the run"),
        ({"model": "vggsnn"}, "model is that of the run"),
        ({"neuron": "relu", "loss": "tks"}, "relates timesteps to each other"),
    ],
)
def test_what_the_run_has_settled_is_refused(begun: Path, given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings_from(load_run(begun), given)


def test_a_relu_network_is_not_made_to_spike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(short(epochs=1, neuron="relu", timesteps=None), Path("runs/relu"))
    with pytest.raises(InputError, match="whose weights know no spikes"):
        settings_from(load_run("runs/relu"), {"neuron": "lif"})


def test_a_dry_run_writes_nothing(app: typer.Typer, begun: Path) -> None:
    before = sorted(str(path) for path in Path().rglob("*"))
    result = CliRunner().invoke(app, ["finetune", str(begun), "--dry-run"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.stderr
    assert "runs/mine-tks" in result.stdout
    assert before == sorted(str(path) for path in Path().rglob("*"))
