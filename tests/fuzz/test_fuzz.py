"""Damaged artifacts end in an error for the user or work: they never crash the process, hang it, or take its memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from tests.fuzz import supervisor
from tests.fuzz.originals import write_originals
from tests.fuzz.supervisor import fuzz
from tests.fuzz.worker import damage_of, use
from tests.runtime.conftest import CPU_BACKENDS

SEED = 4
CASES = 100
"""Each damage at least once; thousands, and those of other seeds, come from `python -m tests.fuzz`."""


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
    kinds = {damage_of(index).__name__ for index in range(CASES)}
    assert {"one_bit", "truncated", "another_shape", "a_bomb", "external_data", "a_loop", "computed_shape"} <= kinds
    assert len(kinds) == 46


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_damaged_artifact_is_refused_or_works(originals: Path, backend: str) -> None:
    result = fuzz(originals, seed=SEED, count=CASES, backend=backend)
    assert not result.failures, f"python -m tests.fuzz --seed {SEED} --count {CASES} --backend {backend}"
    assert result.refused + result.worked == CASES
    assert result.refused > CASES / 2
    assert result.worked > 0


@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("import os; os.kill(os.getpid(), 11)", "signal SIGSEGV"),
        ("import os; os._exit(7)", "exit code 7"),
        ("import time; time.sleep(600)", "it hangs"),
    ],
)
def test_a_case_that_kills_or_hangs_its_process_is_a_failure_and_the_others_go_on(
    originals: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, what: str
) -> None:
    """Without this a fuzzer that reports nothing would pass."""
    start, count, bad = supervisor._start, 6, 3

    def sabotaged(arguments: list[str], log: IO[bytes]) -> subprocess.Popen[str]:
        first = int(arguments[3])
        if first > bad:
            return start(arguments, log)
        # Up to the bad case it is a worker like any other; then it begins that case, and this happens.
        before = ["-m", "tests.fuzz.worker", *arguments[:4], str(bad)]
        script = (
            f"import json, subprocess, sys\nsubprocess.run([sys.executable, *{before!r}], check=True)\n"
            f"print(json.dumps({{'begins': {bad}}}), flush=True)\n{program}\n"
        )
        environment = supervisor._environment()
        return subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )

    monkeypatch.setattr(supervisor, "_start", sabotaged)
    monkeypatch.setattr(supervisor, "SECONDS", 5.0)
    result = fuzz(originals, seed=SEED, count=count, backend="onnxruntime")
    (failure,) = result.failures
    assert (failure.index, failure.damage) == (bad, damage_of(bad).__name__)
    assert what in failure.what
    assert result.refused + result.worked == count - 1
