"""Data sets by name: what is known, what cannot be opened, and the record of the splits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tks_edge.data.dataset import Dataset
from tks_edge.data.facts import DATASETS, FACTS
from tks_edge.data.registry import describe, open_dataset
from tks_edge_runtime.errors import InputError, MissingError


@pytest.mark.parametrize("name", DATASETS)
def test_every_name_is_known_to_the_registry(name: str, in_folder: Path) -> None:
    if FACTS[name].embedded:
        assert open_dataset(name).name == name
        return
    with pytest.raises((InputError, MissingError)) as error:
        open_dataset(name)
    assert "unknown" not in str(error.value)
    assert "--data" in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("digit", {}, "unknown dataset 'digit'. Did you mean 'digits'?"),
        ("digits", {"root": "data"}, "Leave --data out"),
        ("digits", {"download": True}, "digits is not fetched"),
        ("cifar10", {"image_size": 64}, "size of their own"),
        ("folder", {}, "needs --data"),
        ("folder", {"root": "nowhere"}, "nowhere is not a folder"),
    ],
)
def test_what_cannot_be_opened(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        open_dataset(name, **options)
    assert said in str(error.value)


def test_the_record_names_samples_not_places(digits: Dataset) -> None:
    first = describe(digits)
    swapped = dataclasses.replace(digits, test=digits.validation)
    assert describe(swapped)["splits"]["test"]["sha256"] == first["splits"]["validation"]["sha256"]
