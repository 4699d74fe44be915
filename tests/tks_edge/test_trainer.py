"""Training: reproducible, and careful with what stands in its way."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tks_edge.short_training import EPOCHS, STEPS, Watched, outcome, short
from tks_edge import training
from tks_edge.checkpoint import CONFIG, HISTORY, LAST, MODEL, SUMMARY
from tks_edge.data.dataset import Dataset
from tks_edge.tensors import read_tensors
from tks_edge.trainer import train
from tks_edge_models import Network
from tks_edge_runtime.errors import CheckError, InputError, MissingError

pytestmark = [
    pytest.mark.usefixtures("few_digits"),
    # From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def test_a_training_leaves_a_run(tmp_path: Path) -> None:
    watched = Watched()
    run = train(short(), tmp_path / "run", watcher=watched)
    assert {file.name for file in run.path.iterdir()} == {CONFIG, MODEL, HISTORY, SUMMARY, LAST}
    assert (watched.began_at, watched.steps, watched.epochs) == ((0, STEPS * EPOCHS), STEPS * EPOCHS, [1, 2, 3])
    history = [json.loads(line) for line in (run.path / HISTORY).read_text().splitlines()]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert all(len(entry["validation_accuracy_by_timesteps"]) == 2 for entry in history)
    summary = json.loads((run.path / SUMMARY).read_text())
    assert (summary["finished"], summary["epochs_done"]) == (True, EPOCHS)
    best = max(history, key=lambda entry: (entry["validation_accuracy"], entry["epoch"]))
    assert (run.best.epoch, summary["best"]["epoch"]) == (best["epoch"], best["epoch"])
    assert run.best.validation_accuracy == best["validation_accuracy"]
    record = json.loads((run.path / CONFIG).read_text())["dataset"]["splits"]
    assert [record[name]["samples"] for name in ("train", "validation", "test")] == [48, 20, 30]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    run = train(short(epochs=20, loss="mean"), tmp_path / "run")
    history = [json.loads(line) for line in (run.path / HISTORY).read_text().splitlines()]
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path, whole: dict[str, Any]) -> None:
    torch.manual_seed(123)
    train(short(), tmp_path / "again", workers=1)
    assert outcome(tmp_path / "again") == whole
    train(short(seed=1), tmp_path / "other")
    assert outcome(tmp_path / "other")["model"] != whole["model"]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def create(name: str, options: Any) -> Callable[[Tensor, Tensor, float], Tensor]:
        def loss(logits: Tensor, labels: Tensor, progress: float) -> Tensor:
            nonlocal calls
            calls += 1
            return logits.square().mean() * (math.inf if calls == STEPS + 2 else 1.0)

        return loss

    with monkeypatch.context() as patch:
        patch.setattr(training, "create_loss", create)
        with pytest.raises(CheckError, match=r"loss is inf in epoch 2, step 2 of 3.*smaller --lr") as error:
            train(short(), tmp_path / "run")
    assert error.value.exit_code == 1
    _, document = read_tensors(tmp_path / "run" / LAST)
    assert (document["progress"]["epoch"], document["progress"]["step"]) == (1, 0)
    train(short(), tmp_path / "run", resume=True)


def test_a_gradient_that_is_no_number_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(name: str, options: Any) -> Callable[[Tensor, Tensor, float], Tensor]:
        # The square root of 0 has an infinite slope, and 0 times it is no number.
        return lambda logits, labels, progress: ((logits * 0).square().sum()).sqrt()

    monkeypatch.setattr(training, "create_loss", create)
    with pytest.raises(CheckError, match="norm of the gradient is nan in epoch 1, step 1"):
        train(short(clip_norm=1.0), tmp_path / "run")


def test_the_threads_are_those_of_the_settings_and_given_back(tmp_path: Path) -> None:
    class Seen(Watched):
        threads = 0

        def stepped(self, epoch: int, loss: float, accuracy: float) -> None:
            self.threads = torch.get_num_threads()

    before, watched = torch.get_num_threads(), Seen()
    train(short(epochs=1, threads=2), tmp_path / "run", watcher=watched)
    assert (watched.threads, torch.get_num_threads()) == (2, before)


def test_clipping_changes_the_training(tmp_path: Path, whole: dict[str, Any]) -> None:
    train(short(clip_norm=1e-3), tmp_path / "run")
    assert outcome(tmp_path / "run")["model"] != whole["model"]


def test_the_twin_trains(tmp_path: Path) -> None:
    run = train(short(neuron="relu", timesteps=None), tmp_path / "run")
    assert not run.network.is_spiking
    assert len(run.best.validation_accuracy_by_timesteps) == 1


def test_the_neuron_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    lif = {"tau": 3.0, "threshold": 0.75, "reset": "soft", "surrogate": "atan"}
    run = train(short(epochs=1, lif=lif), tmp_path / "run")
    found = run.network.lif
    assert found is not None
    assert (found.tau, found.v_threshold, found.v_reset, found.surrogate) == (3.0, 0.75, None, "atan")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "tiney"}, "Did you mean 'tiny'?"),
        ({"lif": {"tau": 0.5}}, "tau is 0.5"),
        ({"lif": {"surrogate": "step"}}, "unknown surrogate 'step'"),
        ({"lif": {"threshold": -1.0}}, "v_threshold is -1.0"),
    ],
)
def test_what_the_models_refuse_is_an_input_error(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        train(short(**given), tmp_path / "run")
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_data_is_looked_for_before_anything_is_compiled(tmp_path: Path) -> None:
    settings = short(dataset="cifar10", compute={"lif_kernel": "triton"})  # which runs on no CPU
    with pytest.raises(MissingError, match="does not hold cifar10"):
        train(settings, tmp_path / "run", data=tmp_path, device="cpu")


def test_devices(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown device 'cdua'\. Did you mean 'cuda'"):
        train(short(), tmp_path / "run", device="cdua")
    if not torch.cuda.is_available():
        with pytest.raises(MissingError, match="no CUDA device"):
            train(short(), tmp_path / "run", device="cuda")


def test_tensorboard_gets_every_epoch(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(KeyboardInterrupt):
        train(short(epochs=2), tmp_path / "run", tensorboard=True, watcher=Watched(STEPS + 1))
    train(short(epochs=2), tmp_path / "run", tensorboard=True, resume=True)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("accuracy/validation")] == [1, 2]


def test_without_tensorboard_the_flag_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="pip install tensorboard"):
        train(short(), tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_a_broken_tensorboard_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingError, match="--no-tensorboard"):
        train(short(), tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_weights_that_are_no_numbers_are_never_saved(few_digits: Dataset, tmp_path: Path) -> None:
    class Spoiling(Watched):
        network: Network

        def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None:
            self.network = network

        def stepped(self, epoch: int, loss: float, accuracy: float) -> None:
            super().stepped(epoch, loss, accuracy)
            if self.steps == 2:
                with torch.no_grad():
                    next(self.network.parameters()).view(-1)[0] = torch.nan

    with pytest.raises(CheckError, match=r"the largest weight of .* is nan in epoch 1"):
        train(short(), tmp_path / "run", save_every=1, watcher=Spoiling())
    tensors, document = read_tensors(tmp_path / "run" / LAST)
    assert document["progress"]["step"] == 1
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
