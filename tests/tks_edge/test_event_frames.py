"""From events to frames: every event is counted once, whatever T."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tks_edge.event_writers import random_events
from tks_edge.data.event_frames import Cutter
from tks_edge.data.events import EVENT, structured
from tks_edge_runtime.errors import InputError

CUTS = pytest.mark.parametrize("cut", ["time", "events"])


@given(
    count=st.integers(0, 60),
    duration=st.integers(0, 50),
    timesteps=st.integers(1, 64),
    cut=st.sampled_from(["time", "events"]),
    size=st.integers(8, 24),
    seed=st.integers(0, 9),
)
def test_every_event_is_counted_once_whatever_t(
    count: int, duration: int, timesteps: int, cut: str, size: int, seed: int
) -> None:
    events = random_events(seed, count, width=20, height=14)
    events["t"] %= duration + 1
    events = events[np.argsort(events["t"], kind="stable")]
    frames = Cutter(timesteps, cut, size).frames(events, 20, 14)
    assert frames.shape == (timesteps, 2, size, size)
    assert frames.sum() == count
    assert np.array_equal(frames.sum(0), Cutter(1, cut, size).frames(events, 20, 14)[0])


@CUTS
def test_fewer_frames_are_sums_of_more(cut: str) -> None:
    events = random_events(1, 997)
    eight, four = (Cutter(t, cut, 16).frames(events, 128, 128) for t in (8, 4))
    assert np.array_equal(eight.reshape(4, 2, 2, 16, 16).sum(1), four)


def test_each_frame_has_its_share_of_the_time_or_of_the_events() -> None:
    events = structured([0] * 6, [0] * 6, [0, 1, 2, 3, 50, 99], [1] * 6)
    by_time = Cutter(2, "time", 8).frames(events, 8, 8)
    by_events = Cutter(2, "events", 8).frames(events, 8, 8)
    assert by_time[:, 1, 0, 0].tolist() == [4, 2]
    assert by_events[:, 1, 0, 0].tolist() == [3, 3]


@CUTS
def test_a_recording_without_events_gives_empty_frames(cut: str) -> None:
    assert not Cutter(4, cut, 8).frames(np.empty(0, EVENT), 8, 8).any()


@CUTS
def test_a_single_moment_is_in_the_first_frame_or_spread_by_count(cut: str) -> None:
    events = structured([1, 2], [1, 2], [7, 7], [0, 1])
    frames = Cutter(4, cut, 8).frames(events, 8, 8)
    assert frames.sum((1, 2, 3)).tolist() == ([2, 0, 0, 0] if cut == "time" else [1, 0, 1, 0])


def test_polarity_is_the_channel_and_a_wide_sensor_is_padded_above_and_below() -> None:
    events = structured([0, 15], [0, 7], [0, 1], [0, 1])
    frames = Cutter(1, "time", 8).frames(events, 16, 8)
    assert [tuple(int(i) for i in at) for at in np.argwhere(frames)] == [(0, 0, 2, 0), (0, 1, 5, 7)]


def test_counts_end_at_255_and_a_stuck_pixel_is_refused() -> None:
    def same(count: int) -> np.ndarray:
        return structured(*np.zeros((4, count), np.int64))

    assert Cutter(1, "time", 8).frames(same(300), 8, 8).max() == 255
    with pytest.raises(InputError, match="it is stuck"):
        Cutter(1, "time", 8).frames(same(70_000), 8, 8)
