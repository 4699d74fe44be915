"""Resuming: the same bit for bit from any point, and never over something better."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tks_edge.short_training import EPOCHS, STEPS, Watched, outcome, short
from tks_edge import training
from tks_edge.checkpoint import CONFIG, HISTORY, LAST, MODEL, SUMMARY
from tks_edge.resume import Progress, load_state, read_state, save_state
from tks_edge.trainer import train
from tks_edge_runtime.errors import InputError

_ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.usefixtures("few_digits"),
    # From Python 3.12 on, forking a worker beside torch's threads warns; the loader's workers are made by torch.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


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
    real: Callable[..., None] = getattr(training, victim)
    calls = 0

    def killed(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise _KilledError
        real(*arguments, **options)
        if calls == call:
            raise _KilledError

    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(training, victim, killed)
        with pytest.raises(_KilledError):
            train(short(), path)
    train(short(), path, resume=True)
    assert outcome(path) == whole


def test_killed_before_the_first_epoch_ended_is_resumed_from_the_beginning(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"

    def killed(*_: Any) -> bool:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_step", killed)
        with pytest.raises(_KilledError):
            train(short(), path)
    assert {file.name for file in path.iterdir()} == {CONFIG}
    train(short(), path, resume=True)
    assert outcome(path) == whole


def test_killed_by_sigkill_at_random_moments_is_the_same_bit_for_bit(tmp_path: Path, whole: dict[str, Any]) -> None:
    runs = [tmp_path / name for name in ("a", "b", "c")]
    result = subprocess.run(
        [sys.executable, "-m", "tests.tks_edge.kill_and_resume", *map(str, runs)],
        cwd=_ROOT,
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(_ROOT / name) for name in (".", "models", "export", "runtime")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    kills = [tuple(map(int, line.split())) for line in result.stdout.splitlines()]
    assert len(kills) == len(runs)
    assert all(killed >= 3 for killed, _ in kills)
    assert sum(while_writing for _, while_writing in kills) >= 3
    for run in runs:
        assert outcome(run) == whole
        # What was half written when the kill came is gone too.
        assert {file.name for file in run.iterdir()} == {CONFIG, MODEL, HISTORY, SUMMARY, LAST}


def test_the_state_is_saved_in_the_middle_of_an_epoch(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    saved = []
    real = save_state

    def seen(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        saved.append((arguments[3].epoch, arguments[3].step))

    monkeypatch.setattr(training, "save_state", seen)
    train(short(), path, save_every=2)
    assert saved == [(0, 2), (1, 0), (1, 1), (2, 0), (2, 2), (3, 0)]
    assert outcome(path) == whole


def test_extra_tensors_come_back(tmp_path: Path) -> None:
    run = train(short(epochs=1), tmp_path / "run")
    optimizer = torch.optim.AdamW(run.network.parameters())
    average = {"ema/weight": torch.arange(3.0), "ema/count": torch.tensor(7)}
    save_state(run.path, run.network, optimizer, Progress(epoch=1), average)
    saved = read_state(run.path)
    assert saved is not None
    back = {name: torch.zeros_like(tensor) for name, tensor in average.items()}
    assert load_state(saved, run.network, optimizer, back).epoch == 1
    assert all(torch.equal(back[name], average[name]) for name in average)
    for other in ({}, {**back, "ema/more": torch.zeros(1)}, {**back, "ema/weight": torch.zeros(4)}):
        with pytest.raises(InputError, match="does not fit the settings of this run"):
            load_state(saved, run.network, optimizer, other)


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
