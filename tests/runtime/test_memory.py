"""How much memory there is: the kernel's word, and the process's own limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.runtime.test_imports import FOLDER
from tks_edge_runtime.memory import room


def test_the_kernels_word_is_taken(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:  3000 kB\n")
    assert room(tmp_path) == 3000 * 1024


def test_a_machine_that_does_not_say_has_no_figure(tmp_path: Path) -> None:
    assert room(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemAvailable:\n")
    assert room(tmp_path) is None


def test_a_limit_of_the_process_counts() -> None:
    program = "from tks_edge_runtime.memory import room; print(room())"
    limited = subprocess.run(
        ["sh", "-c", 'ulimit -v 2000000; exec "$0" -c "$1"', sys.executable, program],
        env={"PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 1_000_000_000 < int(limited.stdout) < 2_048_000_000
