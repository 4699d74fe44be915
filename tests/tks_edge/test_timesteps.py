from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tks_edge.timesteps import parse_timesteps, powers_of_two
from tks_edge_runtime.artifact import MAX_TIMESTEPS
from tks_edge_runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", (1,)), ("1,2,4,8", (1, 2, 4, 8)), ("1-4", (1, 2, 3, 4)), ("8, 1 - 2", (8, 1, 2)), ("3-3", (3,))],
)
def test_lists_and_ranges(text: str, expected: tuple[int, ...]) -> None:
    assert parse_timesteps(text) == expected


@given(st.lists(st.integers(1, MAX_TIMESTEPS), min_size=1, unique=True))
def test_what_is_written_is_what_is_read(timesteps: list[int]) -> None:
    assert parse_timesteps(",".join(map(str, timesteps))) == tuple(timesteps)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "timesteps is 0; allowed is 1 to 64"),
        ("1000", "timesteps is 1000; allowed is 1 to 64"),
        ("1-1000000000", "timesteps is 1000000000"),
        ("", "neither a T nor a range"),
        ("1,,2", "neither a T nor a range"),
        ("two", "neither a T nor a range"),
        ("-1", "neither a T nor a range"),
        ("1.5", "neither a T nor a range"),
        ("²", "neither a T nor a range"),
        ("4-1", "backwards"),
        ("1,2,1", "name 1 twice"),
        ("1-3,2", "name 2 twice"),
    ],
)
def test_what_is_no_list_of_timesteps(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        parse_timesteps(text)
    assert said in str(error.value)


def test_powers_of_two_end_with_the_timesteps_of_the_training() -> None:
    assert [powers_of_two(t) for t in (1, 2, 6, 8)] == [(1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8)]
