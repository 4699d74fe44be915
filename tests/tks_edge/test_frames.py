"""Fewer frames out of many: the first ones, or all of them averaged in groups."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tks_edge.frames import chosen, merged
from tks_edge.settings.frames import FEWER
from tks_edge_runtime.errors import InputError


def test_merged_averages_consecutive_groups() -> None:
    frames = torch.tensor([[1, 0], [3, 0], [5, 10], [255, 20]], dtype=torch.uint8)
    assert merged(frames, 2).tolist() == [[2.0, 0.0], [130.0, 15.0]]
    assert merged(frames, 1).tolist() == [[66.0, 7.5]]
    assert merged(frames, 4) is frames


def test_the_earlier_groups_take_what_is_left_over() -> None:
    frames = torch.arange(8.0)
    assert merged(frames, 3).tolist() == [1.0, 4.0, 6.5]  # 0 1 2, 3 4 5, 6 7


@given(total=st.integers(1, 20), data=st.data())
def test_groups_are_as_equal_as_possible_and_leave_nothing_out(total: int, data: st.DataObject) -> None:
    timesteps = data.draw(st.integers(1, total))
    frames = torch.eye(total)
    weights = merged(frames, timesteps)
    sizes = (weights > 0).sum(1).tolist()
    assert weights.shape == (timesteps, total)
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1
    order = [int(row.nonzero()[0]) for row in weights]
    assert order == sorted(order)


def test_first_takes_the_first() -> None:
    frames = torch.randint(0, 256, (5, 2, 1, 3, 3), dtype=torch.uint8)
    assert torch.equal(chosen(frames, 2, "first"), frames[:2])
    assert torch.equal(chosen(frames, 2, "rebin"), merged(frames, 2))


@pytest.mark.parametrize("how", FEWER)
@pytest.mark.parametrize("timesteps", [0, 4])
def test_more_timesteps_than_frames_are_refused(how: str, timesteps: int) -> None:
    with pytest.raises(InputError, match=f"timesteps is {timesteps}, of 3 frames; allowed is 1 to 3"):
        chosen(torch.zeros(3, 1), timesteps, how)


def test_another_choice_is_refused() -> None:
    with pytest.raises(InputError, match="unknown choice of frames 'last'"):
        chosen(torch.zeros(3, 1), 2, "last")
