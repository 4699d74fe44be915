"""The board's wheel: the same from a checkout and from an installed tks-edge."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tks_edge_runtime
from tests.e2e.conftest import ROOT
from tks_edge.deploy import wheel as module
from tks_edge.deploy.wheel import build_wheel, chosen_extras, offered_extras, runtime_wheel
from tks_edge_runtime.errors import InputError, MissingError
from tks_edge_runtime.version import __version__


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_checkout_and_an_installation_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    built, site, out = tmp_path / "built", tmp_path / "site", tmp_path / "out"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (installed,) = built.glob("tks_edge-*.whl")
    with zipfile.ZipFile(installed) as archive:
        archive.extractall(site)  # what pip does with a wheel of pure Python
    out.mkdir()
    program = (
        "import sys, pathlib, tks_edge_runtime\n"
        "from tks_edge.deploy.wheel import build_wheel\n"
        "assert 'site' in tks_edge_runtime.__file__, tks_edge_runtime.__file__\n"
        "build_wheel(pathlib.Path(sys.argv[1]))"
    )
    path = f"import sys; sys.path[:0] = [{str(site)!r}]\n"
    subprocess.run([sys.executable, "-c", path + program, str(out)], cwd=tmp_path, check=True, env={})
    (from_installation,) = out.glob("*.whl")
    assert from_installation.name == wheel.name == f"tks_edge_runtime-{__version__}-py3-none-any.whl"
    assert contents(from_installation) == contents(wheel)
    assert from_installation.read_bytes() == wheel.read_bytes()


def test_it_is_the_wheel_that_pip_builds(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(ROOT / "runtime")], check=True, capture_output=True)
    (by_pip,) = tmp_path.glob("*.whl")
    assert contents(by_pip) == contents(wheel)


def test_extras_are_those_of_the_wheel(wheel: Path) -> None:
    assert {"onnxruntime", "openvino"} <= set(offered_extras(wheel))
    assert chosen_extras("openvino, onnxruntime,openvino", wheel) == ("openvino", "onnxruntime")
    assert chosen_extras("none", wheel) == ()
    with pytest.raises(InputError, match=r"no extra 'train'\. .*Allowed: .*onnxruntime.*, or none"):
        chosen_extras("train", wheel)


def test_a_wheel_that_is_given_is_taken(wheel: Path, tmp_path: Path) -> None:
    assert runtime_wheel(tmp_path, wheel).read_bytes() == wheel.read_bytes()
    other = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (tmp_path / "text.whl").write_text("no wheel")
    for path, words in (
        (other, "a wheel of other"),
        (tmp_path / "text.whl", "not a wheel"),
        (tmp_path / "no", "No such"),
    ):
        with pytest.raises(InputError, match=words):
            runtime_wheel(tmp_path, path)


def test_what_is_missing_for_a_build_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = shutil.copytree(ROOT / "runtime/tks_edge_runtime", tmp_path / "site/tks_edge_runtime")
    monkeypatch.setattr(module, "_CARRIED", tmp_path / "none")
    monkeypatch.setattr(tks_edge_runtime, "__file__", str(package / "__init__.py"))
    with pytest.raises(MissingError, match="is not installed whole"):
        build_wheel(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match="pip install hatchling"):
        build_wheel(tmp_path)
