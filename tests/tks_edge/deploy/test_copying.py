"""Files onto a board: only what lacks, on after a broken connection, and no lie about a full disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tks_edge.deploy.sshd import FakeBoard
from tks_edge.deploy import copying
from tks_edge.deploy.board import Board
from tks_edge.deploy.copying import Copied, Copier
from tks_edge.deploy.payload import PayloadFile
from tks_edge.deploy.script import Settings
from tks_edge.deploy.ssh import Connection
from tks_edge_runtime.errors import InputError, MissingError

SIZE = 24_000_000
FOLDER = "a 'folder'"


@pytest.fixture
def big(tmp_path: Path) -> PayloadFile:
    """A file that takes a while, of bytes that nothing compresses."""
    path = tmp_path / "big file.bin"
    path.write_bytes(os.urandom(SIZE))
    return PayloadFile.of(path, "artifacts")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PAUSES", (0.1, 0.1))


@contextmanager
def copier(
    board: FakeBoard,
    folder: str = FOLDER,
    on_progress: Callable[[int], None] = lambda _: None,
    on_drop: Callable[[str], None] = lambda _: None,
) -> Iterator[Copier]:
    with Connection(board.host, ["BatchMode=yes"], board.config) as connection:
        there = Board(connection, folder)
        there.run(Settings(steps=("prepare",)))
        yield there.copier(on_progress, on_drop)


def copy(board: FakeBoard, files: list[PayloadFile], folder: str = FOLDER) -> Copied:
    with copier(board, folder) as ready:
        return ready.copy(files)


class Interruption:
    """Does something once, when so many bytes were sent."""

    def __init__(self, after: int, what: Callable[[], None]) -> None:
        self.sent, self.after, self.what = 0, after, what

    def __call__(self, count: int) -> None:
        self.sent += count
        if self.after and self.sent >= self.after:
            self.after = 0
            self.what()


def arrived(board: FakeBoard, file: PayloadFile) -> bool:
    return (board.home / FOLDER / file.path).read_bytes() == file.source.read_bytes()


def partials(board: FakeBoard) -> list[Path]:
    return list((board.home / FOLDER).rglob("*.partial"))


def test_files_arrive_and_are_known_the_next_time(board: FakeBoard, big: PayloadFile, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    files = [big, PayloadFile.of(tmp_path / "empty")]
    first = copy(board, files)
    assert (first.sent, first.bytes, first.unchanged) == ([big.path, "empty"], SIZE, 0)
    assert arrived(board, big)
    second = copy(board, files)
    assert (second.sent, second.bytes, second.unchanged) == ([], 0, 2)
    sums = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=board.home / FOLDER, capture_output=True)
    assert sums.returncode == 0, sums.stdout


def test_a_file_that_differs_is_copied_again(board: FakeBoard, big: PayloadFile) -> None:
    copy(board, [big])
    path = board.home / FOLDER / big.path
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert copy(board, [big]).sent == [big.path]
    assert arrived(board, big)


def test_a_dropped_connection_goes_on_in_the_same_run(board: FakeBoard, big: PayloadFile) -> None:
    told: list[str] = []
    progress = Interruption(SIZE // 2, board.cut)
    with copier(board, on_progress=progress, on_drop=told.append) as ready:
        done = ready.copy([big])
    assert arrived(board, big)
    assert told == [f"the connection broke while copying {big.path}; connecting again"]
    assert 0 < done.resumed[big.path] < SIZE
    assert progress.sent == SIZE
    assert partials(board) == []


def test_a_copy_that_was_given_up_goes_on_in_the_next_run(board: FakeBoard, big: PayloadFile) -> None:
    progress = Interruption(SIZE // 2, board.stop)
    with (
        pytest.raises(MissingError, match="Run the same command again: it goes on from there"),
        copier(board, on_progress=progress) as ready,
    ):
        ready.copy([big])
    (partial,) = partials(board)
    have = partial.stat().st_size
    assert 0 < have < SIZE
    assert not (board.home / FOLDER / big.path).exists()
    board.start()
    done = copy(board, [big])
    assert done.resumed == {big.path: have}
    assert done.bytes == SIZE - have
    assert arrived(board, big)


def test_the_beginning_of_another_file_is_not_used(board: FakeBoard, big: PayloadFile) -> None:
    with pytest.raises(MissingError), copier(board, on_progress=Interruption(SIZE // 2, board.stop)) as ready:
        ready.copy([big])
    board.start()
    big.source.write_bytes(os.urandom(SIZE))
    other = PayloadFile.of(big.source, "artifacts")
    done = copy(board, [other])
    assert (done.resumed, done.bytes) == ({}, SIZE)
    assert arrived(board, other)
    assert partials(board) == []


@pytest.mark.parametrize("damage", ["other bytes", "too long"])
def test_a_beginning_that_was_damaged_is_sent_anew(board: FakeBoard, big: PayloadFile, damage: str) -> None:
    partial = board.home / FOLDER / copying._partial(big)
    copy(board, [])
    partial.parent.mkdir()
    partial.write_bytes(b"x" * (SIZE // 2 if damage == "other bytes" else SIZE + 1))
    copy(board, [big])
    assert arrived(board, big)
    assert partials(board) == []


def test_a_file_that_changes_meanwhile_is_refused(board: FakeBoard, big: PayloadFile) -> None:
    with (
        pytest.raises(InputError, match="became shorter"),
        copier(board, on_progress=Interruption(1, lambda: os.truncate(big.source, SIZE // 3))) as ready,
    ):
        ready.copy([big])
    big.source.write_bytes(os.urandom(SIZE))
    with pytest.raises(MissingError, match="changes while it is copied"):
        copy(board, [big])
    assert not (board.home / FOLDER / big.path).exists()


@contextmanager
def small_disk(board: FakeBoard, size: str) -> Iterator[Path]:
    """A disk of this size at `disk` in the board's home folder."""
    disk = board.home / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_disk_with_too_little_room_is_seen_before_anything_is_copied(board: FakeBoard, big: PayloadFile) -> None:
    with small_disk(board, "8m") as disk:
        with pytest.raises(MissingError, match=r"24\.0 MB are to be copied, 8\.\d MB are free"):
            copy(board, [big], "disk/tks")
        assert not (disk / "tks/artifacts").exists()


def test_a_disk_that_fills_up_meanwhile_is_left_with_room_and_a_second_run_repairs_it(
    board: FakeBoard, big: PayloadFile
) -> None:
    with small_disk(board, "32m") as disk:
        other = disk / "other"

        def write() -> None:
            other.write_bytes(bytes(20_000_000))

        fill = Interruption(1, write)
        with (
            pytest.raises(MissingError, match=r"the disk of .* is full: .* did not fit"),
            copier(board, "disk/tks", on_progress=fill) as ready,
        ):
            ready.copy([big])
        assert list(disk.rglob("*.partial")) == []
        other.unlink()
        assert copy(board, [big], "disk/tks").sent == [big.path]


def test_a_limit_on_the_size_of_files_is_named(board: FakeBoard, big: PayloadFile) -> None:
    board.start_up = "trap '' XFSZ; ulimit -f 10000"
    board.restart()
    with pytest.raises(MissingError, match="did not fit"):
        copy(board, [big])


def test_a_folder_that_cannot_be_written_to(board: FakeBoard) -> None:
    (board.home / "file").touch()
    for folder in ("file/tks", "/proc/tks"):
        with pytest.raises(InputError, match="Choose a --folder"):
            copy(board, [], folder)
    with pytest.raises(InputError, match="is not a folder"):
        copy(board, [], "file")
