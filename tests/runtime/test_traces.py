"""Packed traces: what goes in comes out, with the tools of a shell as well, and damage is an error."""

from __future__ import annotations

import base64
import gzip
import subprocess
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tks_edge_runtime.traces import pack, unpack


@given(st.lists(st.floats(1e-6, 1e7), max_size=50))
def test_a_trace_keeps_its_order_and_four_digits(trace: list[float]) -> None:
    assert list(unpack(pack(trace))) == pytest.approx(trace, rel=5.1e-4)


def test_the_same_trace_gives_the_same_text_in_a_third_of_its_decimals() -> None:
    trace = array("d", (0.005 + 0.0000013 * (index * 7919 % 311) for index in range(200_000)))
    packed = pack(trace)
    assert packed == pack(trace)
    assert len(packed) < len(trace) * len("0.005123,") / 3


def test_a_shell_unpacks_it() -> None:
    done = subprocess.run(
        ["sh", "-c", "base64 -d | gunzip"], input=pack([0.25, 12.5]).encode(), capture_output=True, check=True
    )
    assert done.stdout == b"0.25\n12.5\n"


@pytest.mark.parametrize(
    "text",
    ["%", "AAAA", pack([1.0, 2.0])[:-8], *(base64.b64encode(gzip.compress(t)).decode() for t in (b"x", b"-1", b"nan"))],
    ids=["no base64", "no gzip", "cut off", "a word", "negative", "nan"],
)
def test_a_damaged_trace_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a trace"):
        unpack(text)
