"""The teacher: a trained ReLU twin of the same data, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.tks_edge.short_training import Watched, short
from tks_edge.checkpoint import load_run
from tks_edge.data.dataset import Dataset
from tks_edge.teacher import load_teacher
from tks_edge.trainer import train
from tks_edge_runtime.errors import InputError


@pytest.fixture
def twin(tmp_path: Path, few_digits: Dataset) -> Path:
    train(short(neuron="relu", timesteps=1, epochs=1), tmp_path / "twin")
    return tmp_path / "twin"


def test_a_trained_twin_is_loaded(twin: Path, few_digits: Dataset) -> None:
    teacher = load_teacher(twin, few_digits, timesteps=2)
    assert not teacher.network.is_spiking
    assert not teacher.network.training
    assert teacher.weights_sha256 == load_run(twin).weights_sha256()


def test_a_teacher_of_other_data_is_refused(twin: Path, few_digits: Dataset) -> None:
    for changed, said in (
        ({"classes": tuple(reversed(few_digits.classes))}, f"class 0 is {few_digits.classes[0]}, not"),
        ({"classes": few_digits.classes[:4]}, "10, not 4"),
        ({"in_channels": 2}, "in_channels is 1, not 2"),
        ({"image_size": 32}, "image_size is 16, not 32"),
        ({"timesteps": 2}, "it knows still images, not recordings"),
    ):
        with pytest.raises(InputError) as error:
            load_teacher(twin, dataclasses.replace(few_digits, **changed), timesteps=2)
        assert said in str(error.value)
        assert str(twin) in str(error.value)


def test_a_spiking_teacher_and_none_at_all_are_refused(tmp_path: Path, few_digits: Dataset) -> None:
    train(short(epochs=1), tmp_path / "spiking")
    with pytest.raises(InputError, match=r"is a spiking network.* tks-edge train --neuron relu"):
        load_teacher(tmp_path / "spiking", few_digits, timesteps=2)
    with pytest.raises(InputError, match="is no folder"):
        load_teacher(tmp_path / "nowhere", few_digits, timesteps=2)


def test_a_run_resumes_with_the_teacher_that_it_began_with(twin: Path, tmp_path: Path, few_digits: Dataset) -> None:
    taught = short(objective={"teacher": str(twin)})
    with pytest.raises(KeyboardInterrupt):
        train(taught, tmp_path / "run", watcher=Watched(stop=2))
    train(short(neuron="relu", timesteps=1, epochs=2, seed=1), twin, overwrite=True)
    with pytest.raises(InputError, match="has other weights than when this run began"):
        train(taught, tmp_path / "run", resume=True)
