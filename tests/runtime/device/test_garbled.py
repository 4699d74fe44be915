"""A file that is missing, unreadable or full of nonsense is never an error: on no machine, whichever file it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.device.trees import NAMES, copied, files, tree
from tks_edge_runtime.device import EnergyMeter, facts, instabilities, state
from tks_edge_runtime.doctor import examine

NONSENSE = (
    b"",
    b"\0\0\n",
    b"\xff\xfe garbled \xc3",
    b"nan",
    b"-inf",
    b"9" * 5000,
    b"-999999999999999999",
    b"{}",
    b"[" * 5000,
    "٣".encode(),
    b"::\n=\n< POWER_MODEL ID= NAME= >\nVersion: \nR0 (release), REVISION: 0",
)


def look_at(root: Path) -> None:
    states = [state(root), state(root)]
    json.dumps([facts(root), states, instabilities(states)], allow_nan=False)
    with EnergyMeter(root, period=60) as meter:
        json.dumps(meter.read(), allow_nan=False)
    for finding in examine(root).findings:
        assert finding.found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", NONSENSE, ids=lambda content: repr(content[:12]))
def test_all_files_are_nonsense(name: str, content: bytes, tmp_path: Path) -> None:
    root = copied(name, tmp_path)
    for path in files(root):
        path.write_bytes(content)
    look_at(root)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_some_files_are_missing_or_nonsense(name: str, data: st.DataObject, tmp_path: Path) -> None:
    root = tmp_path / name
    if not root.exists():
        copied(name, tmp_path)
    paths = [path.relative_to(tree(name)) for path in files(tree(name))]
    changed = data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=20, unique=True))
    contents = [data.draw(st.sampled_from(NONSENSE) | st.binary(max_size=40) | st.none()) for _ in changed]
    for path, content in zip(changed, contents, strict=True):
        (root / path).unlink()
        if content is not None:
            (root / path).write_bytes(content)
    try:
        look_at(root)
    finally:
        for path in changed:
            (root / path).write_bytes((tree(name) / path).read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_the_place_of_every_file(name: str, tmp_path: Path) -> None:
    for path in files(tree(name)):
        (tmp_path / path.relative_to(tree(name))).mkdir(parents=True)
    look_at(tmp_path)


def test_an_empty_folder_is_a_machine_that_says_nothing(tmp_path: Path) -> None:
    look_at(tmp_path)
    assert EnergyMeter(tmp_path).sources == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_says_where_it_comes_from_and_is_of_small_text_files(name: str) -> None:
    assert "reconstructed" in (tree(name) / "README.md").read_text()
    assert all(path.stat().st_size < 10_000 for path in files(tree(name)))
