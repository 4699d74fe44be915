"""Two processes that train together, over Gloo: the results of one, and one end for both."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tks_edge.ranks import few_digits, run_ranks, trained
from tests.tks_edge.short_training import EPOCHS, STEPS, Watched, outcome, short
from tks_edge import training, validation
from tks_edge.checkpoint import CONFIG, HISTORY, LAST, MODEL, SUMMARY
from tks_edge.data.dataset import Split
from tks_edge.distributed.processes import LostProcessError
from tks_edge.tensors import read_tensors
from tks_edge.trainer import train
from tks_edge_runtime.errors import CheckError, InputError

pytestmark = pytest.mark.usefixtures("few_digits")

SYNC = {"sync_batchnorm": True}
TWIN: dict[str, Any] = {"neuron": "relu", "timesteps": None, "loss": "mean"}
STRATEGIES = pytest.mark.parametrize("strategy", ["ddp", "fsdp"])


def history(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / HISTORY).read_text().splitlines()]


@STRATEGIES
def test_the_twin_trains_as_in_one_process(strategy: str, tmp_path: Path) -> None:
    train(short(**TWIN), tmp_path / "one")
    compute = {**SYNC, "strategy": strategy}
    assert run_ranks(2, trained, tmp_path / "two", {**TWIN, "compute": compute}) == [None, None]
    # Sums over the batch are added in another order: rounding, which a ReLU network hands on as it is, and the steps of
    # AdamW, which divides by the gradient's own size, make ten times as large.
    for one, two in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-5)
        for name in ("train_accuracy", "validation_accuracy", "validation_accuracy_by_timesteps", "lr"):
            assert two[name] == one[name]


@STRATEGIES
def test_a_spiking_network_has_the_losses_counts_and_gradients_of_one_process(strategy: str, tmp_path: Path) -> None:
    # Rounding can take a membrane over its threshold, and from then on two trainings differ by more than rounding. So
    # the weights are held still: then all is equal, and in last.safetensors the gradient's mean over the steps too.
    given: dict[str, Any] = {"lr": 1e-12}
    train(short(**given), tmp_path / "one")
    compute = {**SYNC, "strategy": strategy, "accumulate": 1}
    run_ranks(2, trained, tmp_path / "two", {**given, "compute": compute})
    for one, two in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-6)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-6)
        for name in ("train_accuracy", "validation_accuracy_by_timesteps"):
            assert two[name] == one[name]
    one_state, two_state = (read_tensors(tmp_path / name / LAST)[0] for name in ("one", "two"))
    assert one_state.keys() == two_state.keys()
    for name in one_state:
        if name.endswith("exp_avg"):
            scale = float(one_state[name].abs().max())
            torch.testing.assert_close(two_state[name], one_state[name], rtol=1e-4, atol=1e-5 * scale)


def test_batch_norm_of_its_own_sees_half_the_batch(tmp_path: Path) -> None:
    train(short(**TWIN), tmp_path / "one")
    assert run_ranks(2, trained, tmp_path / "two", TWIN) == [None, None]
    assert history(tmp_path / "two")[0]["train_loss"] != pytest.approx(history(tmp_path / "one")[0]["train_loss"])


def watched(rank: int, path: Path, stop_at: int | None, given: dict[str, Any], by: int = signal.SIGINT) -> Any:
    """Train, and give what the watcher saw; the second process asks to stop in its step `stop_at`."""
    real = training.Training._step
    steps = 0

    def step(self: training.Training, *batch: Any) -> bool:
        nonlocal steps
        steps += 1
        if rank == 1 and steps == stop_at:
            signal.raise_signal(by)
        return real(self, *batch)

    training.Training._step = step  # type: ignore[method-assign, assignment]
    seen = Watched()
    try:
        train(short(**given), path, watcher=seen)
    except KeyboardInterrupt:
        return "stopped", seen.steps, seen.epochs
    return "done", seen.steps, seen.epochs


def test_the_first_process_alone_writes_and_watches(tmp_path: Path) -> None:
    first, second = run_ranks(2, watched, tmp_path / "run", None, {})
    assert first == ("done", STEPS * EPOCHS, [1, 2, 3])
    assert second == ("done", 0, [])
    assert {file.name for file in (tmp_path / "run").iterdir()} == {CONFIG, MODEL, HISTORY, SUMMARY, LAST}


@pytest.mark.parametrize(("strategy", "by"), [("ddp", signal.SIGINT), ("fsdp", signal.SIGTERM)])
def test_a_request_to_one_stops_both_at_its_step_and_they_resume_bit_for_bit(
    strategy: str, by: int, tmp_path: Path
) -> None:
    given = {"compute": {"strategy": strategy}}
    run_ranks(2, trained, tmp_path / "whole", given)
    stopped = run_ranks(2, watched, tmp_path / "run", 5, given, by)
    assert [result[0] for result in stopped] == ["stopped", "stopped"]
    assert stopped[0][1] == 5
    document = read_tensors(tmp_path / "run" / LAST)[1]
    assert (document["progress"]["epoch"], document["progress"]["step"]) == (1, 2)
    run_ranks(2, trained_on, tmp_path / "run", given)
    again, whole = outcome(tmp_path / "run"), outcome(tmp_path / "whole")
    for kind in ("last", "model"):
        assert again[kind] == whole[kind]


def trained_on(rank: int, path: Path, given: dict[str, Any]) -> None:
    torch.manual_seed(rank)
    train(short(**given), path, resume=True)


def test_another_number_of_processes_resumes(tmp_path: Path) -> None:
    run_ranks(2, watched, tmp_path / "run", 5, {"compute": {"strategy": "fsdp", "sync_batchnorm": True}})
    run = train(short(compute={"strategy": "fsdp", "sync_batchnorm": True}), tmp_path / "run", resume=True)
    assert (run.best.epoch, len(history(run.path))) == (3, EPOCHS)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    run_ranks(2, trained, tmp_path / "run", {"epochs": 1})
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert run_ranks(2, trained_on, tmp_path / "run", {"epochs": 1}) == [None, None]
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size": 15}, r"batch of 15 samples .* among 2 processes\. Choose a --batch-size .* multiple of 2"),
        ({"batch_size": 12, "compute": {"accumulate": 4}}, "among 2 processes with --accumulate 4"),
        ({"batch_size": 64, "compute": {"accumulate": 32}}, "a batch of 48 samples"),
        ({"model": "tiney"}, "Did you mean 'tiny'"),
    ],
)
def test_what_both_refuse(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    for error in run_ranks(2, trained, tmp_path / "run", given):
        with pytest.raises(InputError, match=said):
            raise error
    assert not (tmp_path / "run").exists()


def test_a_run_in_the_way_is_refused_by_both(tmp_path: Path) -> None:
    train(short(epochs=1), tmp_path / "run")
    for error in run_ranks(2, trained, tmp_path / "run", {"epochs": 1}):
        with pytest.raises(InputError, match="holds a run"):
            raise error


def not_finite(rank: int, path: Path) -> None:
    real = training.Training._forward

    def forward(self: training.Training, *batch: Any) -> Any:
        done = real(self, *batch)
        bad = rank == 1 and self.progress.epoch == 1 and self.progress.step == 1
        return dataclasses.replace(done, loss=done.loss * (math.nan if bad else 1.0))

    training.Training._forward = forward  # type: ignore[method-assign, assignment]
    train(short(), path)


def test_a_loss_that_is_no_number_in_one_stops_both_and_keeps_the_last_epoch(tmp_path: Path) -> None:
    for error in run_ranks(2, not_finite, tmp_path / "run"):
        with pytest.raises(CheckError, match=r"loss is nan in epoch 2, step 2 of 3.*keeps the last whole epoch"):
            raise error
    document = read_tensors(tmp_path / "run" / LAST)[1]
    assert (document["progress"]["epoch"], document["progress"]["step"]) == (1, 0)


def unreadable(rank: int, path: Path, epoch: int) -> None:
    """The second process cannot read a sample of an epoch, and ends with its error, as a command does."""
    real = Split.original
    reads = 0

    def original(self: Split, index: int) -> torch.Tensor:
        nonlocal reads
        reads += 1
        if rank == 1 and reads > epoch * STEPS * 8:
            raise InputError("an image cannot be read")
        return real(self, index)

    Split.original = original  # type: ignore[method-assign]
    train(short(), path)


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_error_of_one_ends_both(epoch: int, tmp_path: Path) -> None:
    other, own = run_ranks(2, unreadable, tmp_path / "run", epoch)
    assert str(own) == "an image cannot be read"
    assert isinstance(other, LostProcessError)
    kept = f"keeps the state after step {STEPS} of {STEPS * EPOCHS}: go on with --resume."
    assert ("Nothing was saved before." if epoch == 0 else kept) in str(other)
    assert (tmp_path / "run").exists() is (epoch > 0)


def reporting(rank: int) -> bool:
    from tks_edge.distributed.launch import Launch

    return Launch.here().may_report()


def test_one_of_two_reports_an_error_that_both_have() -> None:
    assert sorted(run_ranks(2, reporting)) == [False, True]


@pytest.fixture
def alone_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of torchrun, whatever started the tests."""
    for name in [name for name in os.environ if name.startswith("TORCHELASTIC")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("alone_by_torchrun")
@pytest.mark.parametrize(
    ("compute", "said"),
    [
        ({"strategy": "fsdp"}, "--strategy fsdp is for several processes"),
        ({"strategy": "fsdp", **SYNC}, "--strategy fsdp and --sync-batchnorm are for several processes"),
    ],
)
def test_what_needs_several_processes_is_refused_in_one(compute: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        train(short(compute=compute), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def observed(rank: int, path: Path, given: dict[str, Any]) -> dict[str, list[Any]]:
    """Train, and give the random state at the first step, and what each validation was of and how often it reported."""
    seen: dict[str, list[Any]] = {"random": [], "validated": [], "asked": []}
    real, forward = validation.validate, training.Training._forward

    def validate(network: Any, split: Any, *arguments: Any, after_batch: Any, **options: Any) -> Any:
        asked = 0

        def after() -> None:
            nonlocal asked
            asked += 1
            after_batch()

        seen["validated"].append({name: buffer.double().sum().item() for name, buffer in network.named_buffers()})
        found = real(network, split, *arguments, after_batch=after, **options)
        seen["asked"].append(asked)
        return found

    def first(self: training.Training, *batch: Any) -> Any:
        seen["random"].append(torch.get_rng_state().tolist())
        return forward(self, *batch)

    training.validate = validate  # type: ignore[attr-defined]
    training.Training._forward = first  # type: ignore[method-assign, assignment]
    train(short(epochs=1, **given), path, skip_corrupt=True)
    return seen


def test_averaged_weights_are_validated_as_one_network(tmp_path: Path) -> None:
    one, two = run_ranks(2, observed, tmp_path / "run", {"ema": 0.9})
    assert one["validated"] == two["validated"]


def test_a_teacher_leaves_all_processes_with_the_same_random_numbers(tmp_path: Path) -> None:
    train(short(**TWIN, epochs=1), tmp_path / "twin")
    objective = {"teacher": str(tmp_path / "twin"), "sample_timesteps": True}
    one, two = run_ranks(2, observed, tmp_path / "run", {"objective": objective})
    assert one["random"] == two["random"]


class Unreadable:
    """The digits, the first of which nobody can read."""

    def __init__(self, samples: Any, bad: int) -> None:
        self._samples, self._bad = samples, bad

    def __getattr__(self, name: str) -> Any:
        return getattr(self._samples, name)

    def __len__(self) -> int:
        return len(self._samples)

    def prepared(self, index: int) -> torch.Tensor:
        if index == self._bad:
            raise InputError("it cannot be read")
        return self._samples.prepared(index)  # type: ignore[no-any-return]


def unread(rank: int, path: Path) -> dict[str, list[Any]]:
    from tks_edge.data import registry

    digits = few_digits()
    split = digits.validation
    labels = dict(zip(split.indices, split.labels, strict=True))
    bad = Split(Unreadable(split.samples, split.indices[0]), labels, split.indices)
    registry._OPENERS["digits"] = lambda _: dataclasses.replace(digits, validation=bad)
    # One sample a pass, so that the one that cannot be read is a pass of its own.
    return observed(rank, path, {"batch_size": 2})


def test_processes_meet_as_often_where_a_batch_cannot_be_read(tmp_path: Path) -> None:
    one, two = run_ranks(2, unread, tmp_path / "run")
    assert one["asked"] == two["asked"]
