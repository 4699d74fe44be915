"""What holds for all tests, and the order of their files."""

from __future__ import annotations

import functools
import gc
import sys

import pytest
import typer.testing
from hypothesis import settings
from typer.main import get_command

from tests.elsewhere.environment import install

# A machine that is busy with something else is no fault.
settings.register_profile("tks-edge", deadline=None)
settings.load_profile("tks-edge")

# Typer makes all commands anew for every command line; they are the same ones.
vars(typer.testing)["_get_command"] = functools.cache(get_command)

# As the command line does it (tks_edge/cli.py).
gc.set_threshold(10_000, 10, 10)

FIRST = (
    "e2e/test_chain.py",
    "tks_edge/test_several_processes.py",
    "tks_edge/test_torchrun.py",
    "tks_edge/test_resume.py",
    "fuzz/",
    "tks_edge/deploy/",
    "jetpack6/",
    "test_packaging.py",
    "e2e/",
    "export/",
    "tks_edge/",
)
"""What takes longest, first: `--dist loadfile` gives a file to a process that is free, and the last are to be short."""


def _place(item: pytest.Item) -> int:
    path = item.nodeid.removeprefix("tests/")
    return next((place for place, start in enumerate(FIRST) if path.startswith(start)), len(FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


@pytest.fixture(scope="module", autouse=True)
def _what_stays_is_no_garbage() -> None:
    """What earlier files left is looked through by no later collection; those took a seventh of the whole time.

    Every measurement and every test with a fake GPU collects, among modules, networks and graphs that all stay.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def elsewhere() -> None:
    """SpikingJelly, snnTorch, Norse and sinabs can be imported; their warnings are not ours."""
    place = str(install())
    if place not in sys.path:
        sys.path.append(place)
