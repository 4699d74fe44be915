"""The whole way onto a board and back, over a real SSH server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Finished
from tests.runtime.conftest import Build
from tests.tks_edge.deploy.conftest import Command
from tests.tks_edge.deploy.sshd import FakeBoard
from tks_edge.deploy.script import MARKER


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(done: Finished, code: int, *words: str) -> None:
    """One clear error, and no traceback."""
    assert done.code == code, done.out + done.err
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in errors[0]


def test_the_whole_way_and_the_report_comes_home(
    board: FakeBoard, deploy: Command, build: Build, tmp_path: Path
) -> None:
    artifacts = [build(timesteps=1), build(timesteps=2)]
    folder = artifacts[0].path.parent
    done = deploy(folder, "--folder", "my board's", "--report", "--preset", "quick", "--output", "home", "--json")
    assert done.code == 0, done.err
    root = board.home / "my board's"
    copied = files_below(root / "artifacts")
    assert copied == files_below(folder)
    assert (root / "tks-edge-runtime").stat().st_mode & 0o111
    found = done.document
    assert set(found["copied"]) >= {"tks-edge-runtime", *(f"artifacts/{name}" for name in copied)}
    assert "onnxruntime" in found["doctor"]["backends"]
    assert [row["passed"] for row in found["self_test"]["artifacts"]] == [True, True]
    assert {row["file"] for row in found["self_test"]["artifacts"]} == {built.path.name for built in artifacts}
    report = json.loads((tmp_path / "home/report.json").read_text())
    assert len(report["rows"]) == 2
    assert files_below(tmp_path / "home") == files_below(root / "report")
    assert (tmp_path / "home/report.html").is_file()
    assert "the artifacts are run by onnxruntime" in done.err

    again = deploy(folder, "--folder", "my board's")
    assert again.code == 0, again.err
    assert f"nothing to copy: {board.host}:my board's has all" in again.out
    assert "the environment is there already" in again.out
    assert "next: tks-edge deploy" in again.out

    # Everything is in that one folder, and goes with it.
    assert {path.name for path in board.home.iterdir()} == {"my board's"}
    removed = deploy("--folder", "my board's", "--remove")
    assert (removed.code, list(board.home.iterdir())) == (0, [])
    assert f"removed: {root}" in removed.out
    assert deploy("--folder", "my board's", "--remove").code == 0


def test_what_is_no_longer_deployed_leaves_the_board(board: FakeBoard, deploy: Command, build: Build) -> None:
    first, second = build(timesteps=1), build(timesteps=2)
    assert deploy(first.path.parent).code == 0
    (board.home / "tks-edge/artifacts/notes.txt").write_text("the user's own")
    for path in first.path.parent.glob(f"{first.path.stem}*"):
        path.unlink()
    done = deploy(second.path.parent, "--json")
    assert done.code == 0, done.err
    assert done.document["copied"] == []
    assert {path.name for path in (board.home / "tks-edge/artifacts").iterdir()} == {
        *(path.name for path in second.path.parent.iterdir()),
        "notes.txt",
    }


def test_a_failed_self_test_is_reported_and_the_exit_code_is_1(
    board: FakeBoard, deploy: Command, build: Build, tmp_path: Path
) -> None:
    import numpy as np

    built = build(timesteps=1)
    golden = built.path.with_name(built.manifest.golden_file)
    with np.load(golden) as pair:
        np.savez(golden, input=pair["input"], logits=pair["logits"] + 1)
    done = deploy(built.path.parent, "--report")
    refused(done, 1, "self-test failed")
    (row,) = json.loads((tmp_path / "report/report.json").read_text())["rows"]
    assert row["status"] == "failed"


def test_a_folder_that_is_not_ours_is_neither_used_nor_removed(board: FakeBoard, deploy: Command, build: Build) -> None:
    theirs = board.home / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("ten years of work")
    refused(deploy(build().path.parent, "--folder", "theirs"), 2, "not empty and was not made by tks-edge")
    refused(deploy("--folder", "theirs", "--remove"), 2, f"no {MARKER}")
    (theirs / MARKER).write_text("something else\n")
    refused(deploy("--folder", "theirs", "--remove"), 2, "was not made by tks-edge")
    assert (theirs / "thesis.tex").read_text() == "ten years of work"


def test_the_home_folder_is_never_removed(board: FakeBoard, deploy: Command) -> None:
    for folder in (".", "~", "/", "a/../..", "", str(board.home)):
        done = deploy("--folder", folder, "--remove")
        refused(done, 2)
    assert board.home.is_dir()


def test_a_link_to_our_folder_is_removed_with_it(board: FakeBoard, deploy: Command) -> None:
    from tks_edge.deploy.script import MARK

    real = board.home / "disk" / "tks"
    real.mkdir(parents=True)
    (real / MARKER).write_text(f"{MARK}\n")
    (board.home / "tks-edge").symlink_to(real)
    assert deploy("--remove").code == 0
    assert [path.name for path in board.home.rglob("*")] == ["disk"]


def test_what_makes_no_sense_is_refused_before_anything_is_asked(deploy: Command, build: Build, tmp_path: Path) -> None:
    folder = build().path.parent
    refused(deploy(folder, "--preset", "quick"), 2, "--report")
    refused(deploy(folder, "--output", "home"), 2, "--report")
    refused(deploy(folder, "--report", "--preset", "fast"), 2, "unknown preset 'fast'")
    refused(deploy(folder, "--backend", "onnx"), 2, "unknown backend 'onnx'")
    refused(deploy(folder, "--python", "3.8"), 2, "JetPack 5")
    refused(deploy(folder, "--extras", "training"), 2, "no extra 'training'", "onnxruntime")
    refused(deploy(folder, "--ssh-option", "StrictHostKeyChecking=no"), 2, "never")
    refused(deploy(folder, "--ssh-option", "Port"), 2, "NAME=VALUE")
    refused(deploy(folder, "--remove"), 2, "alone")
    refused(deploy(), 2, "no artifacts")
    refused(deploy(tmp_path / "none"), 2, "none is not a folder")
    refused(deploy(folder, "--wheels", tmp_path), 2, "holds no wheels")
    (folder / "small-t2-fp32.golden.npz").unlink()
    refused(deploy(folder), 2, "small-t2-fp32.golden.npz is missing")


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "", "two words"])
def test_a_host_is_no_option(host: str) -> None:
    from tks_edge.deploy.ssh import Connection
    from tks_edge_runtime.errors import InputError

    with pytest.raises(InputError, match="is not a host"):
        Connection(host)
