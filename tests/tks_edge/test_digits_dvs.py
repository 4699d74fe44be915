"""The simulated event camera: the same events everywhere, and such as a camera would send."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tks_edge.data import event_camera
from tks_edge.data.dataset import Dataset
from tks_edge.data.event_camera import MICROSECONDS, SENSOR, logarithms, record
from tks_edge.data.events import EVENT
from tks_edge.data.recordings import HeldRecordings
from tks_edge.data.registry import describe

IMAGES = load_digits().images.astype(np.uint8)
SHA256 = {
    "digits-dvs/0": "15c31c59d7df39faf0e314f7f0e0d09300baefd587f6c67947bcfcd3fb89ef8a",
    "digits-dvs/1": "901180327b4f598849895dbc82240d8b8af3271fed7c27f5692ecf5942439a20",
    "digits-dvs/1796": "74f5501c091ed74018f7ca68c656b06ff4835327d9b87ed10854bece0c155365",
}


def _index(name: str) -> int:
    return int(name.rpartition("/")[2])


def test_recordings_are_the_same_on_every_machine() -> None:
    recordings = record(IMAGES[[_index(name) for name in SHA256]], list(SHA256))
    found = {
        name: hashlib.sha256(events.astype(EVENT.newbyteorder("<")).tobytes()).hexdigest()
        for name, events in zip(SHA256, recordings, strict=True)
    }
    assert found == SHA256


def test_no_last_bit_decides_a_logarithm() -> None:
    """Libraries differ in the last bits of a logarithm; none may lie where those decide how it is rounded."""
    values = logarithms()
    assert np.abs(values - np.floor(values) - 0.5).min() > 1e-6
    assert values.max() < 2**20


def test_a_recording_does_not_depend_on_those_beside_it() -> None:
    names = [f"digits-dvs/{index}" for index in range(5)]
    together = record(IMAGES[:5], names)
    assert np.array_equal(record(IMAGES[3:4], names[3:4])[0], together[3])


def test_events_are_such_as_a_camera_sends() -> None:
    (events,) = record(IMAGES[:1], ["digits-dvs/0"])
    assert events.dtype == EVENT
    assert (np.diff(events["t"]) >= 0).all()
    assert events["t"].min() >= 0
    assert events["t"].max() < MICROSECONDS
    for name in ("x", "y"):
        assert events[name].min() >= 0
        assert events[name].max() < SENSOR
    assert 0.3 < events["p"].mean() < 0.7


def test_an_image_without_ink_sends_noise_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    (events,) = record(np.zeros((1, 8, 8), np.uint8), ["nothing"])
    assert len(events) == round(0.02 * 8 * SENSOR**2)
    monkeypatch.setattr(event_camera, "_NOISE", 0.0)
    assert not len(record(np.zeros((1, 8, 8), np.uint8), ["nothing"])[0])


def test_the_set_has_the_splits_of_the_digits(digits_dvs: Dataset, digits: Dataset) -> None:
    for name, split in digits_dvs.splits().items():
        assert split.indices == digits.splits()[name].indices
        assert split.labels == digits.splits()[name].labels
    assert digits_dvs.train[0][0].shape == (2, 2, SENSOR, SENSOR)
    assert describe(digits_dvs)["timesteps"] == 2


def test_the_whole_recording_is_in_the_frames_of_every_t(few_digits_dvs: Dataset) -> None:
    samples = few_digits_dvs.test.samples
    assert isinstance(samples, HeldRecordings)
    index = few_digits_dvs.test.indices[0]
    few = HeldRecordings([samples.events(index)], SENSOR, samples.cutter, "one")
    for timesteps in (1, 2, 3, 8):
        assert few.rebinned(timesteps).prepared(0).sum() == len(samples.events(index))
