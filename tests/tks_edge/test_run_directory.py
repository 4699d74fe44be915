"""Run directories: one training each, nothing lost, nothing left in the way."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tks_edge.short_training import STEPS, Watched, outcome, short
from tks_edge import training
from tks_edge.checkpoint import CONFIG, MODEL, SUMMARY, RunConfig
from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import open_dataset
from tks_edge.run_directory import DirectoryInUseError, begun
from tks_edge.trainer import build_network, train
from tks_edge_models import Network
from tks_edge_runtime.errors import CheckError, InputError, MissingError

pytestmark = [
    pytest.mark.usefixtures("few_digits"),
    # From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


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
    real = training.Training._step
    steps = 0

    def failing(self: Any, *batch: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise error
        real(self, *batch)

    monkeypatch.setattr(training.Training, "_step", failing)


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
    victim = tmp_path / "data" / split.samples.name(split.indices[5])
    good = victim.read_bytes()
    victim.write_bytes(good[:20])
    for _ in range(2):
        with pytest.raises(InputError, match=r"\.png is not an image that can be read"):
            train(settings, tmp_path / "runs" / "one", data=tmp_path / "data")
        assert not (tmp_path / "runs").exists()
    victim.write_bytes(good)
    train(settings, tmp_path / "runs" / "one", data=tmp_path / "data")
