"""What all tests of networks from elsewhere share: the libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.elsewhere.environment import install


@pytest.fixture(scope="session", autouse=True)
def libraries() -> Iterator[None]:
    """The other libraries, importable."""
    path = str(install())
    sys.path.append(path)
    yield
    sys.path.remove(path)
