"""The whole way onto a board and back, over a real SSH server."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import Finished
from tests.runtime.conftest import Build
from tests.tks_edge.deploy.conftest import Command, deploying, refused
from tests.tks_edge.deploy.sshd import FakeBoard
from tests.tks_edge.deploy.sshd import board as running_board
from tks_edge.deploy.script import MARKER

FOLDER = "my board's"


@dataclass(frozen=True)
class Installed:
    """A board onto which a folder of artifacts was deployed, with its report."""

    board: FakeBoard
    home: Path
    done: Finished
    deploy: Command

    @property
    def root(self) -> Path:
        return self.board.home / FOLDER


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeBoard, list[Installed]]]:
    """One board for the tests of this file, and what was deployed to it."""
    with running_board(tmp_path_factory.mktemp("board")) as started:
        yield started, []


@pytest.fixture
def installed(
    kept: tuple[FakeBoard, list[Installed]], wheel: Path, build: Build, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    board, made = kept
    if not made:
        home = tmp_path_factory.mktemp("host")
        for timesteps in (1, 2):
            build(folder=home / "artifacts", timesteps=timesteps)
        deploy = deploying(board, wheel, home)
        done = deploy("artifacts", "--folder", FOLDER, "--report", "--output", "home", "--json")
        assert done.code == 0, done.err
        made.append(Installed(board, home, done, deploy))
    return made[0]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_whole_way_and_the_report_comes_home(installed: Installed) -> None:
    sent = files_below(installed.home / "artifacts")
    assert files_below(installed.root / "artifacts") == sent
    found = installed.done.document
    assert set(found["copied"]) >= {"tks-edge-runtime", *(f"artifacts/{name}" for name in sent)}
    assert "onnxruntime" in found["doctor"]["backends"]
    assert {row["file"]: row["passed"] for row in found["self_test"]["artifacts"]} == {
        "small-t1-fp32.onnx": True,
        "small-t2-fp32.onnx": True,
    }
    assert "the artifacts are run by onnxruntime" in installed.done.err
    report = json.loads((installed.home / "home/report.json").read_text())
    assert {row["status"] for row in report["rows"]} == {"ok"}
    assert files_below(installed.home / "home") == files_below(installed.root / "report")
    assert (installed.home / "home/report.html").is_file()


def test_everything_on_the_board_is_in_one_folder(installed: Installed) -> None:
    assert [path.name for path in installed.board.home.iterdir()] == [FOLDER]


def test_a_second_deploy_copies_and_installs_nothing(installed: Installed) -> None:
    before = {path: path.stat().st_mtime_ns for path in (installed.root / "env").rglob("*.py")}
    again = installed.deploy("artifacts", "--folder", FOLDER)
    assert again.code == 0, again.err
    assert f"nothing to copy: {installed.board.host}:{FOLDER} has all" in again.out
    assert "the environment is there already" in again.out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    where = f"--folder {shlex.quote(FOLDER)} --ssh-config {installed.board.config}"
    assert again.out.splitlines()[-1] == f"next: tks-edge deploy {installed.board.host} artifacts {where} --report"


def test_the_launcher_keeps_its_caches_in_the_folder(installed: Installed) -> None:
    (launcher,) = (path for path in installed.root.iterdir() if path.name == "tks-edge-runtime")
    assert launcher.stat().st_mode & 0o111
    assert (installed.root / "cache/matplotlib").is_dir()


def test_another_wheel_of_the_same_version_is_installed(installed: Installed, wheel: Path, tmp_path: Path) -> None:
    import zipfile

    changed = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.infolist():
            extra = b"\nMARK = 1\n" if item.filename == "tks_edge_runtime/statistics.py" else b""
            # The sums are those of another file then, which pip does not mind.
            new.writestr(item, old.read(item) + extra)
    done = deploying(installed.board, changed, installed.home)("artifacts", "--folder", FOLDER, "--json")
    assert done.code == 0, done.err
    assert done.document["copied"] == [f"wheels/{wheel.name}"]
    (module,) = (installed.root / "env").rglob("tks_edge_runtime/statistics.py")
    assert module.read_text().endswith("MARK = 1\n")
    assert installed.deploy("artifacts", "--folder", FOLDER).code == 0
    assert "MARK" not in module.read_text()


def test_wheels_are_brought_along_where_the_board_has_no_network(installed: Installed, tmp_path: Path) -> None:
    for name in ("spam-1.0-py3-none-any.whl", "tks_edge_runtime-0.0.1-py3-none-any.whl"):
        (tmp_path / name).write_text("a wheel")
    done = installed.deploy("artifacts", "--folder", FOLDER, "--wheels", tmp_path, "--json")
    assert done.code == 0, done.err
    assert done.document["copied"] == ["wheels/spam-1.0-py3-none-any.whl"]
    refused(installed.deploy("artifacts", "--wheels", installed.home / "artifacts"), 2, "holds no wheels")


def test_what_is_no_longer_deployed_leaves_the_board(installed: Installed) -> None:
    artifacts, board = installed.home / "fewer", installed.root / "artifacts"
    shutil.copytree(installed.home / "artifacts", artifacts)
    (board / "notes.txt").write_text("the user's own")
    for path in artifacts.glob("small-t1*"):
        path.unlink()
    done = installed.deploy("fewer", "--folder", FOLDER, "--json")
    assert done.code == 0, done.err
    assert done.document["copied"] == []
    assert {path.name for path in board.iterdir()} == {*(path.name for path in artifacts.iterdir()), "notes.txt"}


def test_a_failed_self_test_is_in_the_report_and_the_exit_code_is_1(installed: Installed, build: Build) -> None:
    built = build(timesteps=1)
    golden = built.path.with_name(built.manifest.golden_file)
    with np.load(golden) as pair:
        np.savez(golden, input=pair["input"], logits=pair["logits"] + 1)
    done = installed.deploy(built.path.parent, "--folder", FOLDER, "--report", "--output", "failed", "--json")
    refused(done, 1, "1 of 1 failed: small-t1-fp32.onnx")
    assert [row["passed"] for row in done.document["self_test"]["artifacts"]] == [False]
    (row,) = json.loads((installed.home / "failed/report.json").read_text())["rows"]
    assert row["status"] == "failed to run"
    assert row["reason"].startswith("self-test failed")


def test_remove_takes_the_folder_and_nothing_else(board: FakeBoard, deploy: Command) -> None:
    from tks_edge.deploy.script import MARK

    real = board.home / "disk" / "tks"
    real.mkdir(parents=True)
    (real / MARKER).write_text(f"{MARK}\n")
    (real / "env").mkdir()
    (board.home / "tks-edge").symlink_to(real)
    done = deploy("--remove")
    assert (done.code, done.out) == (0, f"removed: {real}\n"), done.err
    assert [path.name for path in board.home.rglob("*")] == ["disk"]
    assert "nothing to remove" in deploy("--remove").out


def test_a_folder_that_is_not_ours_is_neither_used_nor_removed(board: FakeBoard, deploy: Command, build: Build) -> None:
    theirs = board.home / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("ten years of work")
    refused(deploy(build().path.parent, "--folder", "theirs"), 2, "not empty and was not made by tks-edge")
    refused(deploy("--folder", "theirs", "--remove"), 2, f"no {MARKER}")
    (theirs / MARKER).write_text("something else\n")
    refused(deploy("--folder", "theirs", "--remove"), 2, "was not made by tks-edge")
    assert (theirs / "thesis.tex").read_text() == "ten years of work"


def test_what_makes_no_sense_is_refused_before_the_board_is_asked(deploy: Command, build: Build) -> None:
    folder = build().path.parent
    refused(deploy(folder, "--preset", "quick"), 2, "--report")
    refused(deploy(folder, "--report", "--preset", "fast"), 2, "unknown preset 'fast'")
    refused(deploy(folder, "--backend", "onnx"), 2, "unknown backend 'onnx'")
    refused(deploy(folder, "--remove"), 2, "alone")
    refused(deploy("--remove", "--extras", "none"), 2, "alone", "--extras changes nothing")
    refused(deploy(), 2, "no artifacts")
