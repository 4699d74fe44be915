"""What holds for all tests."""

import sys

import pytest
from hypothesis import settings

from tests.elsewhere.environment import folder

# A machine that is busy with something else is no fault.
settings.register_profile("tks-edge", deadline=None)
settings.load_profile("tks-edge")


@pytest.fixture(scope="session")
def elsewhere() -> None:
    """SpikingJelly, snnTorch, Norse and sinabs can be imported; their warnings are not ours."""
    place = str(folder())
    if place not in sys.path:
        sys.path.append(place)
