"""Quantities with units: what is read, and what is refused because it can be read in two ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tks_edge_runtime.errors import InputError
from tks_edge_runtime.quantities import millijoules, milliseconds, percentage


@pytest.mark.parametrize("text", ["5ms", "5 ms", " 5ms ", "0.005s", "5000us", "5000µs", "5000μs", "5e-3 s", "5.0ms"])
def test_one_time_has_many_spellings(text: str) -> None:
    assert milliseconds(text, "--max-latency") == pytest.approx(5, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5m", "whose unit 'm' is none of ns, us, ms, s"),
        ("5", "without a unit"),
        ("5MS", "whose unit 'MS' is none of"),
        ("-5ms", "greater than 0"),
        ("0ms", "greater than 0"),
        ("infs", "greater than 0"),
        ("5 m s", "greater than 0"),
        ("", "greater than 0"),
        ("fast", "greater than 0"),
    ],
)
def test_a_time_that_is_none_is_refused_with_what_would_do(text: str, why: str) -> None:
    with pytest.raises(InputError, match=f"--max-latency is .*{why}.*5ms"):
        milliseconds(text, "--max-latency")


def test_mega_is_not_milli() -> None:
    assert millijoules("0.02J", "--max-energy") == pytest.approx(20)
    with pytest.raises(InputError, match="whose unit 'MJ' is none of nJ, uJ, mJ, J"):
        millijoules("20MJ", "--max-energy")


@given(st.floats(1e-6, 1e6), st.sampled_from([("ns", 1e-6), ("us", 1e-3), ("ms", 1.0), ("s", 1e3)]))
def test_a_time_is_its_number_times_its_unit(number: float, unit: tuple[str, float]) -> None:
    assert milliseconds(f"{number!r}{unit[0]}", "--max-latency") == pytest.approx(number * unit[1], rel=1e-12)


@pytest.mark.parametrize(("text", "value"), [("97.5", 97.5), ("97.5%", 97.5), ("97.5 %", 97.5), ("0.5%", 0.5)])
def test_a_percentage_needs_no_sign(text: str, value: float) -> None:
    assert percentage(text, "--min-accuracy") == value


@pytest.mark.parametrize("text", ["0.975", "1", "0.5"])
def test_a_share_of_one_is_not_taken_for_a_percentage(text: str) -> None:
    with pytest.raises(InputError, match="may be a share of 1 or a percentage"):
        percentage(text, "--min-accuracy")


@pytest.mark.parametrize("text", ["101", "-1", "97.5ms", "high"])
def test_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="give a percentage from 0 to 100"):
        percentage(text, "--min-accuracy")
