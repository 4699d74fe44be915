from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch.utils.data import _utils as data_loader

import tests.operator_table  # noqa: F401 - makes it once
from tests.tks_edge.short_training import outcome, short
from tks_edge.data import registry
from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.digits import open_digits
from tks_edge.data.registry import open_dataset
from tks_edge.trainer import train

# Seconds that a worker whose samples are not wanted any more is waited for, before it is ended: it loses nothing.
data_loader.MP_STATUS_CHECK_INTERVAL = 1.0


def _few(split: Split, samples: int) -> Split:
    few = Split(split.samples, [0] * len(split.samples), split.indices[:samples])
    few.labels = split.labels[:samples]
    return few


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a shared machine cost more than these small networks compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return open_digits()


@pytest.fixture(scope="session")
def few(digits: Dataset) -> Dataset:
    """`digits` cut down to 48, 20 and 30 images."""
    return dataclasses.replace(
        digits, train=_few(digits.train, 48), validation=_few(digits.validation, 20), test=_few(digits.test, 30)
    )


@pytest.fixture
def few_digits(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """`few`, wherever the digits are opened by name."""
    monkeypatch.setitem(registry._OPENERS, "digits", lambda _: few)
    return few


@pytest.fixture(scope="session")
def digits_dvs() -> Dataset:
    return open_dataset("digits-dvs", timesteps=2)


@pytest.fixture
def few_digits_dvs(digits_dvs: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """`digits-dvs` in two frames, cut down to 48, 20 and 30 recordings, wherever it is opened by name."""
    few = dataclasses.replace(
        digits_dvs,
        train=_few(digits_dvs.train, 48),
        validation=_few(digits_dvs.validation, 20),
        test=_few(digits_dvs.test, 30),
    )
    monkeypatch.setitem(registry._OPENERS, "digits-dvs", lambda _: few)
    return few


@pytest.fixture
def app() -> typer.Typer:
    from tks_edge.cli import app as program

    return program


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


_WHOLE: dict[str, Any] = {}


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an uninterrupted training leaves; trained once, in a folder of its own."""
    if not _WHOLE:
        path = tmp_path_factory.mktemp("whole") / "run"
        train(short(), path)
        _WHOLE.update(outcome(path))
    return _WHOLE
