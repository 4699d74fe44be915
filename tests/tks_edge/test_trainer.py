"""Training: reproducible, resumable bit for bit from any point, and careful with what stands in its way."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from tks_edge import trainer
from tks_edge.checkpoint import CONFIG, HISTORY, LAST, MODEL, SUMMARY, RunConfig
from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import open_dataset
from tks_edge.metrics import EpochMetrics, Validated
from tks_edge.run_directory import DirectoryInUseError, begun
from tks_edge.settings import TrainSettings, resolve
from tks_edge.tensors import read_tensors
from tks_edge.trainer import build_network, train
from tks_edge_models import Network
from tks_edge_runtime.errors import CheckError, InputError, MissingError

pytestmark = [
    pytest.mark.usefixtures("few_digits"),
    # From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

STEPS = 3  # 48 images, 16 a step
EPOCHS = 3


def short(**given: Any) -> TrainSettings:
    return resolve({"timesteps": 2, "epochs": EPOCHS, "batch_size": 16, "lr": 1e-2} | given)


class Watched:
    """Counts steps and epochs; sends Ctrl-C to itself after step `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.steps = 0
        self.began_at: tuple[int, int] | None = None
        self.epochs: list[int] = []

    def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None:
        self.began_at = (done, total)

    def stepped(self, epoch: int, loss: float, accuracy: float) -> None:
        self.steps += 1
        assert math.isfinite(loss)
        assert 0 <= accuracy <= 1
        if self.steps == self.stop:
            signal.raise_signal(signal.SIGINT)

    def ended_epoch(self, metrics: EpochMetrics, best: Validated) -> None:
        self.epochs.append(metrics.epoch)


def outcome(path: Path) -> dict[str, Any]:
    """Everything a training leaves that must not depend on how it got there: all but wall times."""
    tensors, document = read_tensors(path / LAST)
    for entry in document["progress"]["history"]:
        del entry["seconds"]
    history = [json.loads(line) for line in (path / HISTORY).read_text().splitlines()]
    summary = json.loads((path / SUMMARY).read_text())
    for entry in (*history, summary):
        del entry["seconds"]
    return {
        "last": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        "progress": document,
        "history": history,
        "summary": summary,
        "model": (path / MODEL).read_bytes(),
    }


_WHOLE: dict[str, Any] = {}


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an uninterrupted training leaves; trained once, in a folder of its own."""
    if not _WHOLE:
        path = tmp_path_factory.mktemp("whole") / "run"
        train(short(), path)
        _WHOLE.update(outcome(path))
    return _WHOLE


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


@pytest.mark.parametrize("stop", [1, 3, 5, STEPS * EPOCHS])
def test_interrupted_and_resumed_is_the_same_bit_for_bit(stop: int, tmp_path: Path, whole: dict[str, Any]) -> None:
    path = tmp_path / "run"
    first, second = Watched(stop), Watched()
    with pytest.raises(KeyboardInterrupt):
        train(short(), path, watcher=first)
    assert first.steps == stop
    torch.manual_seed(99)
    train(short(), path, resume=True, watcher=second)
    assert second.began_at == (stop, STEPS * EPOCHS)
    assert second.steps == STEPS * EPOCHS - stop
    assert outcome(path) == whole


def test_interrupted_again_and_again_is_the_same_bit_for_bit(tmp_path: Path, whole: dict[str, Any]) -> None:
    path = tmp_path / "run"
    for resume in (False, True, True, True):
        with pytest.raises(KeyboardInterrupt):
            train(short(), path, resume=resume, watcher=Watched(2))
    train(short(), path, resume=True)
    assert outcome(path) == whole


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("victim", ["write_best", "write_metrics", "save_state"])
@pytest.mark.parametrize(("call", "after"), [(1, False), (1, True), (2, False)])
def test_killed_at_any_write_and_resumed_is_the_same_bit_for_bit(
    victim: str, after: bool, call: int, tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., None] = getattr(trainer, victim)
    calls = 0

    def killed(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise _KilledError
        real(*arguments)
        if calls == call:
            raise _KilledError

    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(trainer, victim, killed)
        with pytest.raises(_KilledError):
            train(short(), path)
    train(short(), path, resume=True)
    assert outcome(path) == whole


def test_killed_before_the_first_epoch_ended_is_resumed_from_the_beginning(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"

    def killed(*_: Any) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(trainer._Training, "_step", killed)
        with pytest.raises(_KilledError):
            train(short(), path)
    assert {file.name for file in path.iterdir()} == {CONFIG}
    train(short(), path, resume=True)
    assert outcome(path) == whole


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    run = train(short(epochs=1), tmp_path / "run")
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}
    again = train(short(epochs=1), run.path, resume=True)
    assert again.best == run.best
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before


def test_a_finished_run_needs_no_state(tmp_path: Path) -> None:
    run = train(short(), tmp_path / "run")
    (run.path / LAST).unlink()
    before = {file.name: file.read_bytes() for file in run.path.iterdir()}
    again = train(short(), run.path, resume=True)
    assert (again.best, again.weights_sha256()) == (run.best, run.weights_sha256())
    assert {file.name: file.read_bytes() for file in run.path.iterdir()} == before


def test_an_unfinished_run_without_its_state_is_not_trained_over(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(short(), path, watcher=Watched(2 * STEPS + 1))
    (path / LAST).unlink()
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(InputError, match=r"holds no last\.safetensors.*2 epochs are done.*--overwrite"):
        train(short(), path, resume=True)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_resuming_with_other_settings_lists_them(tmp_path: Path) -> None:
    train(short(epochs=1), tmp_path / "run")
    with pytest.raises(InputError) as error:
        train(short(epochs=2, lr=0.5), tmp_path / "run", resume=True)
    assert "epochs is 1, not 2; lr is 0.01, not 0.5" in str(error.value)


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        train(short(), tmp_path / "nothing", resume=True)
    with pytest.raises(InputError, match="Give one of them"):
        train(short(), tmp_path / "nothing", resume=True, overwrite=True)
    assert not (tmp_path / "nothing").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(short(epochs=1), path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(InputError, match=r"--resume.*--overwrite"):
        train(short(epochs=1, seed=1), path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    (path / "mine.txt").write_text("kept")
    train(short(epochs=1, seed=1), path, overwrite=True)
    assert (path / MODEL).read_bytes() != before[MODEL]
    assert (path / "mine.txt").read_text() == "kept"


def test_a_mistake_with_overwrite_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(short(epochs=1), path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(InputError, match="Did you mean 'tiny'"):
        train(short(model="tiney"), path, overwrite=True)
    with pytest.raises(InputError, match="is not a folder"):
        train(short(dataset="folder"), path, data=tmp_path / "nothing", overwrite=True)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_run_is_never_replaced(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        train(short(), tmp_path / "file", overwrite=overwrite)
    with pytest.raises(InputError, match="holds something that is no run"):
        train(short(), tmp_path, overwrite=overwrite)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "config", ['{"architectures": ["ResNet"]}', '{"schema_version": 1}', '{"versions": 3}', "[1]", ""]
)
def test_a_folder_with_a_foreign_config_is_never_replaced(config: str, tmp_path: Path) -> None:
    files = {CONFIG: config, MODEL: "weights", SUMMARY: "[]"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="holds something that is no run"):
        train(short(), tmp_path, overwrite=True)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == files


def test_of_many_that_ask_for_a_directory_one_gets_it(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "one"
    config = RunConfig.now(build_network(short(), digits), short(), digits)
    start, got, refused = threading.Barrier(8), [], []

    def ask() -> None:
        start.wait()
        try:
            with begun(path, config, overwrite=False):
                got.append(RunConfig.read(path))
        except DirectoryInUseError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    assert got == [config]
    assert "taken by another training" in refused[0]


def test_the_run_that_began_first_is_left_alone(tmp_path: Path) -> None:
    """A second training checks the directory, and the first takes it before the second does."""
    path = tmp_path / "run"

    class Second(Watched):
        def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None:
            config = RunConfig.read(path)
            with pytest.raises(DirectoryInUseError), begun(path, config, overwrite=False):
                pass

    run = train(short(epochs=1), path, watcher=Second())
    assert run.best.epoch == 1


def fail_once(monkeypatch: pytest.MonkeyPatch, step: int, error: Exception) -> None:
    real = trainer._Training._step
    steps = 0

    def failing(self: Any, *batch: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise error
        real(self, *batch)

    monkeypatch.setattr(trainer._Training, "_step", failing)


@pytest.mark.parametrize("error", [InputError("a.png cannot be read"), CheckError("nan"), MissingError("no room")])
@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_start_that_fails_leaves_nothing_in_the_way(
    error: Exception, folder: str, tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs" / "mine"
    if folder == "empty":
        path.mkdir(parents=True)
    with monkeypatch.context() as patch:
        fail_once(patch, 2, error)
        with pytest.raises(type(error)):
            train(short(), path, tensorboard=True)
    assert list(tmp_path.rglob("*")) == ([path.parent, path] if folder == "empty" else [])
    train(short(), path)
    assert outcome(path) == whole


def test_a_failure_after_something_was_saved_keeps_it(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        fail_once(patch, STEPS + 2, InputError("a.png cannot be read"))
        with pytest.raises(InputError):
            train(short(), path)
    train(short(), path, resume=True)
    assert outcome(path) == whole


def test_an_unreadable_image_does_not_block_the_same_training(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (32, 32), (i, 0, 0)).save(tmp_path / "data" / name / f"{i:02}.png")
    settings = short(dataset="folder", model="tiny", epochs=1, batch_size=28)
    split = open_dataset("folder", tmp_path / "data").train
    victim = tmp_path / "data" / split.images.name(split.indices[5])
    good = victim.read_bytes()
    victim.write_bytes(good[:20])
    for _ in range(2):
        with pytest.raises(InputError, match=r"\.png is not an image that can be read"):
            train(settings, tmp_path / "runs" / "one", data=tmp_path / "data")
        assert not (tmp_path / "runs").exists()
    victim.write_bytes(good)
    train(settings, tmp_path / "runs" / "one", data=tmp_path / "data")


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
        patch.setattr(trainer, "create_loss", create)
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

    monkeypatch.setattr(trainer, "create_loss", create)
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
