"""What is read from JSON is of the types that its fields have, one of a few words included."""

from __future__ import annotations

import dataclasses

import pytest

from tks_edge_runtime.documents import parse
from tks_edge_runtime.energy import EnergyUse

USE = EnergyUse("vdd_in", "module rail VDD_IN, not wall", "board", 5.0, None, 6, 9.0, 4.0)


def test_what_was_written_is_read_back() -> None:
    assert parse(EnergyUse, dataclasses.asdict(USE), "energy") == USE


def test_a_word_that_is_none_of_those_allowed_is_refused_with_them() -> None:
    with pytest.raises(TypeError, match=r"energy\.covers is 'sun', not 'board' or 'processor' or 'gpu' or 'part'"):
        parse(EnergyUse, dataclasses.asdict(USE) | {"covers": "sun"}, "energy")
