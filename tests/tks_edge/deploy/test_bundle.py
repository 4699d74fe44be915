"""The archive for a board without network: what is in it, and the whole way with the network off."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from tests.e2e.conftest import tks_edge
from tests.runtime.conftest import Build
from tests.tks_edge.deploy.conftest import refused
from tests.tks_edge.deploy.sshd import PYTHON
from tks_edge.deploy.archive import write_archive
from tks_edge.deploy.bundle import INSTALLER, ROOT
from tks_edge.deploy.download import unmet
from tks_edge.deploy.payload import PayloadFile
from tks_edge.deploy.script import LAUNCHER, MARKER
from tks_edge.deploy.target import Target, target
from tks_edge_runtime.errors import ArtifactError, InputError, MissingError
from tks_edge_runtime.exit_rule import CalibratedRule, write_exit_rule
from tks_edge_runtime.files import sha256_of

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def unpacked(bundle: Path, folder: Path) -> Path:
    """The folder that a board unpacks, by its `tar`; one without zstd is helped out by Python here."""
    folder.mkdir()
    if bundle.suffix == ".zst":
        with bundle.open("rb") as packed, (folder / "board.tar").open("wb") as plain:
            zstandard.ZstdDecompressor().copy_stream(packed, plain)
        bundle = folder / "board.tar"
    subprocess.run(["tar", "-xf", bundle, "-C", folder], check=True)
    return folder / ROOT


def test_the_wheels_for_jetpack_6_are_complete(build: Build, wheel: Path, tmp_path: Path) -> None:
    """Python 3.10 on aarch64: every wheel runs there, and none is missing; this machine need be neither."""
    folder = build().path.parent
    done = tks_edge("bundle", folder, "--output", "board.tar.zst", "--runtime-wheel", wheel, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    names = done.document["wheels"]
    (engine,) = (name for name in names if name.startswith("onnxruntime-"))
    assert engine.startswith("onnxruntime-1.23.2-cp310-cp310-manylinux")
    for name in names:
        *_, python, abi, platforms = name.removesuffix(".whl").split("-")
        if abi == "none":
            assert "py3" in python.split("."), name
            assert platforms == "any" or "aarch64" in platforms, name
        else:
            assert abi in ("cp310", "abi3"), name
            assert "aarch64" in platforms, name
    root = unpacked(tmp_path / "board.tar.zst", tmp_path / "unpacked")
    assert {path.name for path in (root / "wheels").iterdir()} == set(names)
    assert {path.name for path in (root / "artifacts").iterdir()} == {path.name for path in folder.iterdir()}
    assert unmet(root / "wheels" / wheel.name, ("onnxruntime",), target("3.10", "aarch64"), root / "wheels") == []
    sums = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=root, capture_output=True)
    assert (sums.returncode, sums.stdout) == (0, b"")
    # Here is another machine, which the script sees before it does anything.
    refusing = subprocess.run(["sh", root / INSTALLER], capture_output=True, text=True)
    assert refusing.returncode == 3
    assert "this bundle is for aarch64" in refusing.stderr or platform.machine() == "aarch64"
    assert not (root / "env").exists()
    (root / "artifacts/small-t2-fp32.onnx").write_bytes(b"damaged")
    refusing = subprocess.run(["sh", root / INSTALLER], capture_output=True, text=True)
    assert (refusing.returncode, "this bundle is damaged" in refusing.stderr) == (2, True)


def test_the_whole_way_with_the_network_off(build: Build, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("only root can switch the network off for one program")
    folder = build().path.parent
    where = ("--python", HERE, "--platform", platform.machine())
    done = tks_edge("bundle", folder, "--output", "board.tar.gz", *where, cwd=tmp_path)
    assert done.code == 0, done.err
    assert f"tar -xf board.tar.gz && sh {ROOT}/{INSTALLER}" in done.out
    root = unpacked(tmp_path / "board.tar.gz", tmp_path / "a board's disk")
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    (programs / "python3").symlink_to(PYTHON)
    environment = {
        "HOME": str(home),
        "PATH": f"{programs}:/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "PIP_NO_COMPILE": "1",
    }

    def installer(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "-n", "sh", str(root / INSTALLER), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    shown = installer("--help")
    assert (shown.returncode, "--remove" in shown.stdout) == (0, True)
    assert installer("--fast").returncode == 2
    first = installer()
    assert first.returncode == 0, first.stdout + first.stderr
    (row,) = json.loads((root / "report/report.json").read_text())["rows"]
    assert (row["status"], row["file"]) == ("ok", "small-t2-fp32.onnx")
    assert (root / "report/report.html").is_file()
    again = installer("--no-report", "--backend", "onnxruntime")
    assert again.returncode == 0, again.stderr
    assert "the environment is there already" in again.stdout
    assert "measuring" not in again.stdout
    assert list(home.iterdir()) == []
    removed = installer("--remove")
    assert (removed.returncode, root.exists()) == (0, False), removed.stderr


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    for name, text in (("b", "two"), ("a", "one")):
        (tmp_path / name).write_text(text)
    for ending in (".tar.gz", ".tar.zst", ".tgz"):
        archives = []
        for place, mode in (("first", 0o600), ("second", 0o644)):
            os.utime(tmp_path / "a", (0, 0) if place == "first" else None)
            (tmp_path / "a").chmod(mode)
            files = [
                PayloadFile.of(tmp_path / name, "folder") for name in (("a", "b") if place == "first" else ("b", "a"))
            ]
            archives.append(tmp_path / place / f"board{ending}")
            write_archive(archives[-1], "root", files, {"install.sh": "true\n"})
        assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as archive:
        members = {member.name: (member.mode, member.uid, member.uname, member.mtime) for member in archive}
    plain = (0, "", 315532800)
    assert members == {
        "root": (0o755, *plain),
        "root/folder": (0o755, *plain),
        "root/folder/a": (0o644, *plain),
        "root/folder/b": (0o644, *plain),
        "root/install.sh": (0o755, *plain),
    }


def test_the_script_can_be_run_and_the_folder_removed() -> None:
    """What `install.sh` looks for in its own folder is what the archive puts there."""
    from tks_edge.deploy.script import FOLDER, MARK

    text = (FOLDER / "install.sh").read_text()
    assert f"marker={MARKER}\n" in text
    assert f'mark="{MARK}"\n' in text
    assert f'"$root/{LAUNCHER}"' in text


def test_a_bundle_is_written_whole_or_not_at_all(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build().path.parent
    refused(tks_edge("bundle", folder, "--output", "board.zip", cwd=tmp_path), 2, "board.zip does not end in .tar.zst")
    refused(tks_edge("bundle", folder, "--output", ".tar.gz", cwd=tmp_path), 2, "does not end in")
    refused(tks_edge("bundle", folder, "--python", "3.9", cwd=tmp_path), 2, "Allowed: 3.10 to 3.13")
    refused(tks_edge("bundle", folder, "--platform", "arm64", cwd=tmp_path), 2, "unknown platform 'arm64'")
    refused(tks_edge("bundle", folder, "--extras", "torch", cwd=tmp_path), 2, "no extra 'torch'")
    refused(tks_edge("bundle", tmp_path / "none", cwd=tmp_path), 2, "none is not a folder")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    refused(tks_edge("bundle", folder, cwd=tmp_path), 3, "pip cannot reach its package index")
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]


def test_too_little_room_is_refused(build: Build, tmp_path: Path) -> None:
    folder, disk = build().path.parent, tmp_path / "disk"
    with (folder / "big.golden.npz").open("wb") as file:
        file.truncate(1)
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        refused(tks_edge("bundle", folder, "--output", "disk/board.tar.gz", cwd=tmp_path), 3, "no room for disk/board")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_an_artifact_goes_with_what_belongs_to_it(build: Build, tmp_path: Path) -> None:
    from tks_edge.deploy.payload import artifact_files

    built = build()
    folder = built.path.parent
    assert {file.path for file in artifact_files(folder)} == {f"artifacts/{path.name}" for path in folder.iterdir()}
    evaluation = folder / "small-t2-fp32.eval.npz"
    kept = shutil.copy(evaluation, tmp_path / "kept")
    evaluation.write_bytes(b"another")
    with pytest.raises(ArtifactError, match="is not the set"):
        artifact_files(folder)
    shutil.copy(kept, evaluation)
    built.path.with_name(built.manifest.golden_file).unlink()
    with pytest.raises(ArtifactError, match=r"golden\.npz is missing"):
        artifact_files(folder)


def test_a_rule_for_early_exit_goes_with_its_artifact_alone(build: Build) -> None:
    from tks_edge.deploy.payload import artifact_files

    path, another = build().path, "0" * 64
    rule = CalibratedRule(sha256_of(path), "margin", 0.25, 2, "digits", "validation", 20, 0.5, 20, 19, 1.5)
    kept = write_exit_rule(path, rule)
    assert f"artifacts/{kept.name}" in {file.path for file in artifact_files(path.parent)}
    write_exit_rule(path, dataclasses.replace(rule, sha256=another))
    with pytest.raises(ArtifactError, match="was chosen for another artifact"):
        artifact_files(path.parent)


def test_a_name_that_no_list_of_sums_can_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two\nlines").touch()
    with pytest.raises(InputError, match="line break"):
        PayloadFile.of(tmp_path / "two\nlines")


def fake_wheel(folder: Path, name: str, version: str, *needs: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    lines = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n{lines}")
    return path


def test_needs_are_read_as_the_boards_python_reads_them(tmp_path: Path) -> None:
    board = Target("3.10", "aarch64")
    top = fake_wheel(
        tmp_path, "top", "1",
        "old_only>=2; python_version < '3.11'", "new_only; python_version >= '3.11'",
        "arm; platform_machine == 'aarch64'",
        "windows; sys_platform == 'win32'", "engine[fast]>1; extra == 'engine'", "never; extra == 'other'",
    )  # fmt: skip
    assert unmet(top, (), board, tmp_path) == ["arm", "old_only>=2"]
    fake_wheel(tmp_path, "arm", "1")
    fake_wheel(tmp_path, "old_only", "1")
    assert unmet(top, ("engine",), board, tmp_path) == ["engine[fast]>1", "old_only>=2"]
    (tmp_path / "old_only-1-py3-none-any.whl").unlink()
    fake_wheel(tmp_path, "Old.Only", "2.1")
    fake_wheel(tmp_path, "engine", "1.5", "wings; extra == 'fast'")
    assert unmet(top, ("engine",), board, tmp_path) == ["wings"]


def test_platforms_are_no_newer_than_the_boards_system() -> None:
    jetpack6 = target("3.10", "aarch64").platforms
    assert jetpack6[0] == "manylinux_2_35_aarch64"
    assert jetpack6[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
    with pytest.raises(InputError):
        target("3.10", "armv7l")
    assert MissingError.exit_code == 3
