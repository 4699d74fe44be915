"""Damaged artifacts end in an error for the user or work: they never crash the process, hang it, or take its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.originals import write_originals
from tests.fuzz.supervisor import fuzz
from tests.fuzz.worker import damage_of, use
from tests.runtime.conftest import CPU_BACKENDS

SEED = 4
CASES = {"onnxruntime": 1000, "openvino": 210}


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_originals(folder)
    return folder


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_an_artifact_that_is_whole_ends_in_no_error(originals: Path, backend: str) -> None:
    for path in originals.glob("*/*.onnx"):
        assert use(path, backend) == ()


def test_the_cases_have_every_kind_of_damage() -> None:
    kinds = {damage_of(index).__name__ for index in range(CASES["openvino"])}
    assert {"one_bit", "truncated", "another_shape", "a_bomb", "external_data", "a_loop", "computed_shape"} <= kinds
    assert len(kinds) == 46


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.xdist_group("fuzz")
def test_a_damaged_artifact_is_refused_or_works(originals: Path, backend: str) -> None:
    count = CASES[backend]
    result = fuzz(originals, seed=SEED, count=count, backend=backend)
    assert not result.failures, f"python -m tests.fuzz --seed {SEED} --count {count} --backend {backend}"
    assert result.refused + result.worked == count
    assert result.refused > count / 2
    assert result.worked > 0
