"""What a board may lack: each is said in one error, and a second run repairs what the first left."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tks_edge.deploy.sshd import PYTHON, FakeBoard, site_packages
from tests.tks_edge.deploy.test_copying import small_disk
from tks_edge.deploy.board import Board, checked_folder
from tks_edge.deploy.payload import WHEELS, PayloadFile
from tks_edge.deploy.script import FOLDER, LAUNCHER, Settings, install_script
from tks_edge.deploy.ssh import Connection
from tks_edge_runtime.errors import InputError, MissingError

CHECK = Settings(steps=("check",))


@contextmanager
def connected(board: FakeBoard, folder: str = "tks-edge") -> Iterator[Board]:
    with Connection(board.host, ["BatchMode=yes"], board.config) as connection:
        yield Board(connection, folder)


def lacks(board: FakeBoard, settings: Settings, *words: str) -> None:
    with connected(board) as there, pytest.raises(MissingError) as raised:
        there.run(settings)
    for word in words:
        assert word in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_the_scripts_are_clean_shell() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here (apt-get install shellcheck)")
    filled = install_script(Settings(("check",), "a 'folder'", "3.10", "aarch64", "x.whl", ("onnxruntime",), True))
    for script in (filled, (FOLDER / "install.sh").read_text(), (FOLDER / LAUNCHER).read_text()):
        done = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_board_without_venv(board: FakeBoard) -> None:
    # What Debian's python3 without python3-venv does: the module ensurepip is not there.
    board.write_program("python3", f'case "$*" in *ensurepip*) exit 1;; esac\nexec {PYTHON} "$@"')
    lacks(board, CHECK, "cannot make environments", "sudo apt install python3-venv")
    assert list(board.home.iterdir()) == []


def test_a_named_python_without_venv(board: FakeBoard) -> None:
    name = f"python{version()}"
    board.write_program(name, f'case "$*" in *ensurepip*) exit 1;; esac\nexec {PYTHON} "$@"')
    lacks(board, Settings(steps=("check",), python=version()), f"sudo apt install {name}-venv")


def version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


OLD = """case $2 in
  *'<'*) exit 1 ;;
  *print*) echo 3.8 ;;
  *) exit 0 ;;
esac"""


def test_a_python_that_is_too_old(board: FakeBoard) -> None:
    board.write_program("python3", OLD)
    lacks(board, CHECK, "is Python 3.8; 3.10 or newer is needed", "JetPack 5", "JetPack 6", "--python")


def test_another_python_than_the_one_asked_for(board: FakeBoard) -> None:
    other = "3.10" if version() != "3.10" else "3.11"
    board.write_program(f"python{other}", f'exec {PYTHON} "$@"')
    lacks(board, Settings(steps=("check",), python=other), f"Python {other} is asked for", f"is {version()}")


def test_no_python_at_all(board: FakeBoard) -> None:
    board.write_program("python3", "exit 127")
    lacks(board, CHECK, "has no python3", "sudo apt install python3 python3-venv")


def test_another_processor(board: FakeBoard) -> None:
    lacks(board, Settings(steps=("check",), machine="riscv64"), "is for riscv64", "tks-edge bundle --platform")


Installing = Callable[[], None]


@contextmanager
def installing(
    board: FakeBoard,
    wheel: Path,
    *,
    offline: bool = False,
    folder: str = "tks-edge",
    extras: tuple[str, ...] = (),
) -> Iterator[Installing]:
    """A board with the runtime's wheel copied; what is yielded makes the environment."""
    with connected(board, folder) as there:
        there.run(Settings(steps=("prepare",)))
        files = [PayloadFile.of(FOLDER / LAUNCHER, executable=True), PayloadFile.of(wheel, WHEELS)]
        there.copier(lambda _: None, lambda _: None).copy(files)
        settings = Settings(steps=("environment",), wheel=wheel.name, offline=offline, extras=extras)
        yield lambda: there.run(settings)


def test_pip_without_network_and_a_second_run_with_it(board: FakeBoard, wheel: Path) -> None:
    # An index that nobody serves: as on a board that is in no network.
    reachable = board.start_up
    board.start_up = "unset PYTHONPATH PIP_NO_INDEX; export PIP_INDEX_URL=http://127.0.0.1:9/ PIP_EXTRA_INDEX_URL="
    board.restart()
    with (
        installing(board, wheel) as install,
        pytest.raises(MissingError, match="cannot reach its package index") as raised,
    ):
        install()
    assert "tks-edge deploy --wheels" in str(raised.value)
    assert not (board.home / "tks-edge/env/.tks-edge-installed").exists()
    board.start_up = reachable
    board.restart()
    with installing(board, wheel) as install:
        install()
    assert (board.home / "tks-edge/env/.tks-edge-installed").exists()
    assert not (board.home / "tks-edge/tmp").exists()


def test_wheels_that_lack_something(board: FakeBoard, wheel: Path) -> None:
    board.start_up = "unset PYTHONPATH"
    board.restart()
    with installing(board, wheel, offline=True) as install, pytest.raises(MissingError) as raised:
        install()
    assert "No matching distribution found for" in str(raised.value)
    assert f"has none for Python {version()}" in str(raised.value)


def test_a_disk_that_fills_up_while_installing_and_a_second_run_with_room(board: FakeBoard, wheel: Path) -> None:
    with small_disk(board, "6m") as disk:
        with installing(board, wheel, folder="disk/tks") as install, pytest.raises(MissingError, match="disk is full"):
            install()
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        with installing(board, wheel, folder="disk/tks") as install:
            install()
        assert (disk / "tks/env/.tks-edge-installed").exists()


def test_an_environment_that_was_half_made_is_made_anew(board: FakeBoard, wheel: Path) -> None:
    half = board.home / "tks-edge/env/bin"
    with installing(board, wheel) as install:
        half.mkdir(parents=True)
        (half / "python").write_text("half of it")
        install()
    assert (half.parent / ".tks-edge-installed").exists()


def system_packages(folder: Path, *without: str) -> Path:
    """The packages of the test's environment as links in one folder, without those of these names."""
    folder.mkdir()
    for source in site_packages():
        for path in source.iterdir():
            if not path.name.startswith(without) and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    return folder


@pytest.mark.parametrize("own", [True, False])
def test_an_engine_library_of_the_systems_own_is_not_hidden(board: FakeBoard, wheel: Path, own: bool) -> None:
    """A build of a library under another name (onnxruntime-gpu) is kept: the plain one would shadow it."""
    packages = system_packages(board.folder / "system", *(["openvino-"] if own else ["openvino"]))
    board.start_up = f"export PYTHONPATH={packages}"
    board.restart()
    with installing(board, wheel, extras=("openvino",)) as install:
        if own:
            install()
        else:  # asked for, and there is no index here
            with pytest.raises(MissingError, match="No matching distribution found for openvino"):
                install()


def test_where_tensorrt_is_what_it_needs_is_installed_for_the_boards_cuda(
    board: FakeBoard, wheel: Path, tmp_path: Path
) -> None:
    """With a stand-in for TensorRT's module and CUDA's version file, which no machine without a GPU has."""
    offering = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(offering, "w") as new:
        for item in old.infolist():
            text = old.read(item)
            if item.filename.endswith(".dist-info/METADATA"):
                added = "Provides-Extra: trt\nRequires-Dist: cuda-bindings; extra == 'trt'\n"
                head, _, rest = text.decode().partition("Provides-Extra: ")
                text = f"{head}{added}Provides-Extra: {rest}".encode()
            new.writestr(item, text)
    system, cuda = system_packages(board.folder / "system", "tensorrt"), board.folder / "cuda"
    (system / "tensorrt.py").touch()
    cuda.mkdir()
    (cuda / "version.json").write_text('{"cuda": {"name": "CUDA SDK", "version": "1.6.11"}, "x": {"version": "9.1"}}')
    board.start_up = f"export PYTHONPATH={system} CUDA_HOME={cuda}"
    board.restart()
    with installing(board, offering) as install, pytest.raises(MissingError, match=r"found for cuda-bindings<2"):
        install()
    (system / "tensorrt.py").unlink()
    with installing(board, offering) as install:
        install()


@pytest.mark.parametrize("folder", ["", ".", "~", "~root", "/", "a/../..", "..", "a\nb"])
def test_what_cannot_be_a_folder_on_a_board(folder: str) -> None:
    with pytest.raises(InputError, match="cannot be the folder on the board"):
        checked_folder(folder)


def test_folders_as_people_write_them() -> None:
    assert [checked_folder(name) for name in ("tks-edge", "~/x/", "/opt/tks", "a b/c'd")] == [
        "tks-edge",
        "x",
        "/opt/tks",
        "a b/c'd",
    ]


def test_an_archive_of_the_board_cannot_lead_out_of_the_reports_folder(board: FakeBoard, tmp_path: Path) -> None:
    with connected(board) as there:
        there.run(Settings(steps=("prepare",)))
        evil = board.folder / "evil.tar"
        with tarfile.open(evil, "w") as archive:
            entry = tarfile.TarInfo("../escaped")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"x"))
        (board.home / "tks-edge/report").mkdir()
        board.write_program("tar", f"cat {evil}")
        with pytest.raises(MissingError, match="leads out of its folder"):
            there.fetch("report", tmp_path / "home")
        board.write_program("tar", "exit 2")
        with pytest.raises(MissingError, match="did not come home"):
            there.fetch("report", tmp_path / "home")
    assert not (tmp_path / "escaped").exists()
