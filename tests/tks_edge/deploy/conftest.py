"""A board behind a real SSH server, artifacts to bring there, and the command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Finished, environment
from tests.runtime.conftest import build as build
from tests.tks_edge.deploy.sshd import FakeBoard
from tests.tks_edge.deploy.sshd import board as running_board
from tks_edge.deploy.wheel import build_wheel

Command = Callable[..., Finished]


@pytest.fixture
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeBoard]:
    with running_board(tmp_path_factory.mktemp("board")) as started:
        yield started


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime's wheel, built once."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def deploying(board: FakeBoard, wheel: Path, cwd: Path) -> Command:
    """Runs `tks-edge deploy` against the board, without a terminal."""

    def run(*arguments: str | Path) -> Finished:
        command = ["deploy", board.host, *arguments, "--ssh-config", board.config]
        if "--remove" not in arguments:
            command += ["--runtime-wheel", wheel]
        done = subprocess.run(
            [sys.executable, "-m", "tks_edge", *map(str, command)],
            cwd=cwd,
            capture_output=True,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def deploy(board: FakeBoard, wheel: Path, tmp_path: Path) -> Command:
    return deploying(board, wheel, tmp_path)


def refused(done: Finished, code: int, *words: str) -> None:
    """One clear error, and no traceback."""
    assert done.code == code, done.out + done.err
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in errors[0]
