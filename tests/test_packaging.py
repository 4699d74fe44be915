"""Both wheels are built and used from outside the tree, where no checkout can hide a missing file."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

from tests.test_imports import PACKAGES, modules

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = {
    "tks-edge": (ROOT, tuple(PACKAGES)),
    "tks-edge-runtime": (ROOT / "runtime", ("tks_edge_runtime",)),
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built = {}
    for name, (folder, _) in DISTRIBUTIONS.items():
        target = tmp_path_factory.mktemp(name)
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", target, folder], check=True, capture_output=True
        )
        (built[name],) = target.glob("*.whl")
    return built


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_its_packages_whole_and_nothing_else(name: str, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[name]) as archive:
        inside = {entry for entry in archive.namelist() if ".dist-info/" not in entry}
    expected = {
        f"{package}/{path.relative_to(PACKAGES[package]).as_posix()}"
        for package in DISTRIBUTIONS[name][1]
        for path in PACKAGES[package].rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if name == "tks-edge":  # with which it builds the board's wheel
        expected |= {f"tks_edge/deploy/runtime_project/{file}" for file in ("pyproject.toml", "README.md")}
    assert inside == expected


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_works_installed_elsewhere_without_torch(name: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-compile", wheels[name]], check=True, cwd=tmp_path)
    program = f"import importlib\nfor name in {modules('tks_edge_runtime')!r}: importlib.import_module(name)"
    subprocess.run([python, "-I", "-c", program], check=True, cwd=tmp_path)
    shown = subprocess.run(
        [tmp_path / "env/bin" / name, "--help"], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert "report" in shown.stdout
    if name == "tks-edge":
        refused = subprocess.run([tmp_path / "env/bin/tks-edge", "train"], cwd=tmp_path, capture_output=True, text=True)
        assert refused.returncode == 3
        assert "pip install '.[train]'" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_the_two_distributions_agree() -> None:
    host, board = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder, _ in DISTRIBUTIONS.values()
    )
    assert host["dependencies"] == board["dependencies"]
    assert host["requires-python"] == board["requires-python"]
    for extra, needs in board["optional-dependencies"].items():
        assert host["optional-dependencies"][extra] == needs


def test_the_changelog_speaks_of_this_version() -> None:
    from tks_edge_runtime.version import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
