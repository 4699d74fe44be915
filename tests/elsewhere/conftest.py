"""What all tests of networks from elsewhere share: the libraries."""

from __future__ import annotations

import pytest

import tests.operator_table  # noqa: F401 - makes it once


@pytest.fixture(scope="session", autouse=True)
def libraries(elsewhere: None) -> None:
    """The other libraries, importable."""
