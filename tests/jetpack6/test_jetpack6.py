"""The runtime on JetPack 6's pair, Python 3.10 and ONNX Runtime 1.23.2; `make test-jetpack6` runs all of its tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.jetpack6.environment import ROOT, interpreter

TESTS = ("session", "stream", "backends", "cli", "graph_check")


@pytest.mark.skipif(interpreter() is None, reason="there is no Python 3.10 on the path or in pyenv")
def test_the_runtime_runs_on_the_pair_of_jetpack_6() -> None:
    files = [f"tests/runtime/test_{name}.py" for name in TESTS]
    done = subprocess.run(
        [sys.executable, "-m", "tests.jetpack6.run", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "onnxruntime 1.23.2" in done.stdout
    assert " passed" in done.stdout
