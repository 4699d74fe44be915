"""The run directory: what is read back, what is refused, and that a failed write leaves what was there."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tks_edge.checkpoint import CONFIG, LAST, MODEL, SUMMARY, RunConfig, load_run, write_best
from tks_edge.data.dataset import Dataset
from tks_edge.metrics import Validated
from tks_edge.resume import Progress, load_state, read_state, save_state
from tks_edge.runs import latest_run, latest_unfinished
from tks_edge.settings import resolve
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge.trainer import build_network
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError, MissingError

BEST = Validated(epoch=3, validation_loss=0.5, validation_accuracy=0.75, validation_accuracy_by_timesteps=(0.5, 0.75))


@pytest.fixture
def run(digits: Dataset, tmp_path: Path) -> Path:
    """A run directory with fresh weights as its best."""
    settings = resolve({"timesteps": 2})
    torch.manual_seed(0)
    network = build_network(settings, digits)
    path = tmp_path / "runs" / "one"
    RunConfig.now(network, settings, digits).write(path)
    write_best(path, network, BEST)
    return path


def test_a_run_is_read_back(run: Path, digits: Dataset) -> None:
    loaded = load_run(run)
    torch.manual_seed(0)
    network = build_network(resolve({"timesteps": 2}), digits)
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.network.state_dict().values(), network.state_dict().values(), strict=True)
    )
    assert loaded.network.spec == network.spec
    assert not loaded.network.training
    assert (loaded.name, loaded.best, loaded.config.train) == ("one", BEST, resolve({"timesteps": 2}))
    assert loaded.dataset().test.indices == digits.test.indices
    assert set(loaded.config.versions) >= {"tks-edge", "python", "torch"}


def test_equal_weights_are_equal_files(run: Path) -> None:
    first = load_run(run)
    write_best(run, first.network, BEST)
    assert load_run(run).weights_sha256() == first.weights_sha256()


def test_a_run_may_be_moved(run: Path) -> None:
    moved = run.rename(run.with_name("two"))
    assert load_run(moved).name == "two"


def without(run: Path, *keys: str) -> None:
    document = json.loads((run / CONFIG).read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    (run / CONFIG).write_text(json.dumps(document))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(path: Path, document: Any) -> None:
    """The same tensors with another document."""
    write_tensors(path, read_tensors(path)[0], document)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated weights": (lambda run: truncate(run / MODEL), "damaged or no safetensors file"),
    "empty weights": (lambda run: (run / MODEL).write_bytes(b""), "damaged or no safetensors file"),
    "no weights": (lambda run: (run / MODEL).unlink(), "no trained weights yet"),
    "foreign weights": (lambda run: (run / MODEL).write_bytes(b"PK\x03\x04" * 50), "damaged or no safetensors file"),
    "other weights": (lambda run: write_tensors(run / MODEL, {"w": torch.zeros(2)}, {"best": None}), "different runs"),
    "no config": (lambda run: (run / CONFIG).unlink(), "is no run directory"),
    "truncated config": (lambda run: truncate(run / CONFIG), "is not valid JSON"),
    "foreign config": (lambda run: (run / CONFIG).write_text("{}"), "was not written by `tks-edge train`"),
    "a list for config": (lambda run: (run / CONFIG).write_text("[1]"), "was not written by `tks-edge train`"),
    "newer config": (lambda run: edit(run / CONFIG, schema_version=99), "has schema 99"),
    "odd settings": (lambda run: edit(run / CONFIG, train={"lif": None}), "is damaged"),
    "odd network": (lambda run: edit(run / CONFIG, network={"name": "tiny"}), "describes no network"),
    "no splits": (lambda run: without(run, "dataset", "splits"), "dataset.splits is missing"),
    "no data set": (lambda run: edit(run / CONFIG, dataset=None), "config.dataset is NoneType, not an object"),
    "no epochs": (lambda run: without(run, "train", "epochs"), "config.train lacks epochs"),
    "a setting out of range": (
        lambda run: edit(run / CONFIG, train=resolve({}).to_json() | {"timesteps": 65}),
        "timesteps is 65",
    ),
    "a setting of another type": (
        lambda run: edit(run / CONFIG, train=resolve({}).to_json() | {"epochs": None}),
        "config.train.epochs is None, not int",
    ),
    "a setting that is not known": (
        lambda run: edit(run / CONFIG, train=resolve({}).to_json() | {"epoch": 1}),
        "config.train has an unknown field, epoch",
    ),
    "a list in the weights' metadata": (
        lambda run: rewrite(run / MODEL, [1]),
        "was not written by `tks-edge train`",
    ),
    "no best epoch": (lambda run: rewrite(run / MODEL, {"best": [1]}), "is damaged"),
    "a foreign config with a schema": (
        lambda run: (run / CONFIG).write_text('{"schema_version": 1}'),
        "was not written by `tks-edge train`",
    ),
    "a plugin of what has none": (
        lambda run: edit(run / CONFIG, train={}, plugins={"colour": "a-plugin 1.0"}),
        "is damaged (config.train lacks",
    ),
    "a plugin that is no text": (
        lambda run: edit(run / CONFIG, plugins={"model": 3}),
        "is damaged (config.plugins.model is 3",
    ),
    "a plugin without a name": (
        lambda run: edit(run / CONFIG, train={}, plugins={"model": ""}),
        "is damaged (config.train lacks",
    ),
    "unknown network": (
        lambda run: edit(run / CONFIG, network=json.loads((run / CONFIG).read_text())["network"] | {"name": "huge"}),
        "unknown model 'huge'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(run: Path, damage: str) -> None:
    change, said = DAMAGE[damage]
    change(run)
    with pytest.raises(InputError) as error:
        load_run(run)
    assert said in str(error.value)
    assert str(run) in str(error.value)
    assert str(error.value).count("\n") == 0


def test_weights_of_another_shape_are_named(run: Path) -> None:
    tensors, document = read_tensors(run / MODEL)
    name = next(name for name in tensors if tensors[name].ndim == 4)
    tensors[name] = tensors[name][:, :, :1]
    write_tensors(run / MODEL, tensors, document)
    with pytest.raises(InputError, match=f"{name} has shape"):
        load_run(run)


def test_a_plain_safetensors_file_is_foreign(run: Path) -> None:
    import safetensors.torch

    (run / MODEL).write_bytes(safetensors.torch.save({"w": torch.zeros(2)}))
    with pytest.raises(InputError, match="was not written by `tks-edge train`"):
        load_run(run)


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        load_run(tmp_path / "nothing")


def test_the_latest_run_is_the_one_whose_weights_are_newest(run: Path) -> None:
    runs = run.parent
    for name, seconds in (("two", 2000), ("three", 1000)):
        (runs / name).mkdir()
        for file in (CONFIG, MODEL):
            (runs / name / file).write_bytes((run / file).read_bytes())
            os.utime(runs / name / file, (seconds, seconds))
    os.utime(run / MODEL, (1500, 1500))
    (runs / "empty").mkdir()
    assert latest_run(runs) == runs / "two"
    with pytest.raises(InputError, match="no trained run"):
        latest_run(runs / "empty")


def test_the_latest_run_of_a_kind(run: Path, digits: Dataset) -> None:
    twin = run.with_name("twin")
    settings = resolve({"neuron": "relu"})
    network = build_network(settings, digits)
    with pytest.raises(InputError, match=r"no trained ReLU run.*--neuron relu"):
        latest_run(run.parent, spiking=False)
    RunConfig.now(network, settings, digits).write(twin)
    write_best(twin, network, BEST)
    os.utime(run / MODEL, (1000, 1000))
    assert latest_run(run.parent) == latest_run(run.parent, spiking=False) == twin
    assert latest_run(run.parent, spiking=True) == run


def test_foreign_folders_are_no_runs(run: Path) -> None:
    foreign = run.with_name("foreign")
    foreign.mkdir()
    (foreign / CONFIG).write_text('{"architectures": ["ResNetForImageClassification"]}')
    (foreign / MODEL).write_bytes(b"mine")
    os.utime(run / MODEL, (1000, 1000))
    os.utime(run / CONFIG, (1000, 1000))
    assert latest_run(run.parent) == latest_unfinished(run.parent) == run


@pytest.mark.parametrize("summary", ["[]", "{}", '{"finished": "yes"}', "{"])
def test_a_damaged_summary_is_named(run: Path, summary: str) -> None:
    (run / SUMMARY).write_text(summary)
    with pytest.raises(InputError, match=r"one/metrics\.json is"):
        latest_unfinished(run.parent)


def test_a_damaged_summary_of_another_run_stands_in_nobodys_way(run: Path) -> None:
    other = run.with_name("other")
    shutil.copytree(run, other)
    (other / SUMMARY).write_text("{")
    assert latest_unfinished(run.parent) == run


def test_the_latest_unfinished_run(run: Path) -> None:
    assert latest_unfinished(run.parent) == run
    (run / "metrics.json").write_text('{"finished": true}')
    with pytest.raises(InputError, match="no unfinished run"):
        latest_unfinished(run.parent)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_half_way_leaves_the_file_before_it(
    run: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    real = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        real(self, data[: len(data) // 2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", half)
    expected = MissingError if code == errno.ENOSPC else InputError
    with pytest.raises(expected, match=r"model\.safetensors"):
        write_best(run, load_run(run).network, BEST)
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


def stepped(digits: Dataset) -> tuple[Any, torch.optim.AdamW]:
    torch.manual_seed(0)
    network = build_network(resolve({"timesteps": 2}), digits)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    images = torch.stack([digits.train[i][0] for i in range(4)])
    for _ in range(2):
        network(images, timesteps=2).square().sum().backward()
        optimizer.step()
    return network, optimizer


def loaded(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> Progress:
    saved = read_state(path)
    assert saved is not None
    return load_state(saved, network, optimizer)


def test_the_state_is_read_back_bit_for_bit(digits: Dataset, tmp_path: Path) -> None:
    network, optimizer = stepped(digits)
    progress = Progress(epoch=1, step=2, loss=0.1 + 0.2, correct=3, seen=4, seconds=1.5)
    save_state(tmp_path, network, optimizer, progress)
    random = torch.rand(3)
    fresh = build_network(resolve({"timesteps": 2}), digits)
    fresh_optimizer = torch.optim.AdamW(fresh.parameters(), lr=1e-3)
    assert loaded(tmp_path, fresh, fresh_optimizer) == progress
    assert torch.equal(torch.rand(3), random)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name])
    for mine, theirs in zip(network.parameters(), fresh.parameters(), strict=True):
        for key, value in optimizer.state[mine].items():
            assert torch.equal(value, fresh_optimizer.state[theirs][key])


def test_there_may_be_no_state_yet(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None


def test_a_damaged_state_is_named(digits: Dataset, tmp_path: Path) -> None:
    network, optimizer = stepped(digits)
    save_state(tmp_path, network, optimizer, Progress())
    tensors, _ = read_tensors(tmp_path / LAST)
    write_tensors(tmp_path / LAST, tensors, {"progress": {"epoch": 1}})
    with pytest.raises(InputError, match=r"last\.safetensors is damaged"):
        loaded(tmp_path, network, optimizer)
    truncate(tmp_path / LAST)
    with pytest.raises(InputError, match=r"last\.safetensors is damaged"):
        loaded(tmp_path, network, optimizer)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, document: tensors.pop("random/cpu"),
        lambda tensors, document: tensors.update({"random/cpu": torch.zeros(3)}),
        lambda tensors, document: tensors.update({"random/cpu": torch.zeros(3, dtype=torch.uint8)}),
        lambda tensors, document: tensors.pop(next(name for name in tensors if name.endswith("exp_avg"))),
        lambda tensors, document: document.update(progress=[]),
        lambda tensors, document: document["progress"].update(history=[{"epoch": 1}]),
        lambda tensors, document: document["progress"].update(step="3"),
    ],
)
def test_every_part_of_a_damaged_state_is_named(
    change: Callable[[dict[str, Any], dict[str, Any]], object], digits: Dataset, tmp_path: Path
) -> None:
    network, optimizer = stepped(digits)
    save_state(tmp_path, network, optimizer, Progress())
    tensors, document = read_tensors(tmp_path / LAST)
    change(tensors, document)
    write_tensors(tmp_path / LAST, tensors, document)
    with pytest.raises(InputError, match=r"last\.safetensors is damaged"):
        loaded(tmp_path, network, optimizer)


def test_a_run_from_before_networks_were_imported_is_read(run: Path) -> None:
    document = json.loads((run / CONFIG).read_text())
    del document["origin"]
    (run / CONFIG).write_text(json.dumps(document | {"schema_version": 2}))
    assert load_run(run).config.origin is None


def test_a_run_of_the_first_version_is_read(run: Path) -> None:
    """Its config.json had neither recipes nor frames, and nothing on top of the loss."""
    document = json.loads((run / CONFIG).read_text())
    del document["teacher"], document["origin"], document["dataset"]["timesteps"], document["dataset"]["cut"]
    for name in ("recipe", "augment", "frames", "objective", "ema", "compute"):
        del document["train"][name]
    (run / CONFIG).write_text(json.dumps(document | {"schema_version": 1}))
    read = load_run(run)
    assert (read.config.train.recipe, read.config.train.augment) == ("digits", "jitter")
    assert read.dataset().timesteps is None
