"""What doctor finds in an environment, and with this or that missing."""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tks_edge_runtime.backends import BACKENDS, Backend
from tks_edge_runtime.doctor import Finding, examine
from tks_edge_runtime.errors import MissingError


def findings() -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine().findings}


def test_an_environment_that_has_everything() -> None:
    examination = examine()
    found = {finding.subject: finding for finding in examination.findings}
    for name in ("onnxruntime", "openvino"):
        assert name in examination.backends
        assert examination.devices[name][0] == "cpu"
        assert found[f"{name} on cpu"].status == "ok"
        assert found[f"{name} on cpu"].found.startswith(f"{name} {metadata.version(name)}")
    assert examination.next == ("report", "artifacts/")


def test_the_disk_of_a_folder_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    examination = examine(folder=tmp_path / "no such folder")
    disk = next(finding for finding in examination.findings if finding.subject == "disk")
    assert disk.status == "absent"


@pytest.mark.parametrize(("name", "status"), [("onnxruntime", "missing"), ("openvino", "absent")])
def test_a_missing_backend_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, name: str, status: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    examination = examine()
    backend = next(finding for finding in examination.findings if finding.subject == f"{name} on cpu")
    assert name not in examination.backends
    assert backend.status == status
    assert f"pip install {name}" in str(backend.advice)


def fake_backend(able: tuple[str, ...]) -> Backend:
    """A backend with three devices, some of which can run here."""

    def require(device: str) -> None:
        if device not in able:
            raise MissingError(f"no driver for {device}. Install it: apt install driver")

    def version() -> str:
        return "1.0"

    def never(path: Path, options: Any) -> Any:
        raise AssertionError("nothing is opened")

    return Backend(version, require, never, ("cpu", "cuda", "npu"))


def test_each_device_of_a_backend_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "fake", fake_backend(able=("cpu", "npu")))
    examination = examine()
    found = {finding.subject: finding for finding in examination.findings}
    assert examination.devices["fake"] == ("cpu", "npu")
    assert found["fake on npu"] == Finding("fake on npu", "ok", "fake 1.0")
    assert found["fake on cuda"] == Finding(
        "fake on cuda", "absent", "cannot be used", "no driver for cuda. Install it: apt install driver"
    )


def test_engines_come_first_where_they_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "tensorrt", fake_backend(able=("cuda",)))
    assert examine().next == ("report", "artifacts/", "--backend", "tensorrt")
    monkeypatch.setitem(BACKENDS, "tensorrt", fake_backend(able=()))
    assert examine().next == ("report", "artifacts/")


@pytest.mark.parametrize(
    ("installed", "status"),
    [({"tks-edge"}, "ok"), ({"tks-edge-runtime"}, "ok"), (set(), "ok"), ({"tks-edge", "tks-edge-runtime"}, "warning")],
)
def test_both_distributions_at_once_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], status: str
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    found = findings()
    assert found["tks-edge"].status == status
    assert found["numpy"] == Finding("numpy", "missing", "not installed", "pip install numpy")
    if status == "warning":
        assert "pip uninstall tks-edge tks-edge-runtime" in str(found["tks-edge"].advice)


def test_training_is_looked_for_without_importing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    def find_spec(name: str, *_: Any) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    training = findings()["training"]
    assert training.status == "absent"
    assert "pip install '.[train]'" in str(training.advice)


def test_a_library_that_training_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    training = findings()["training"]
    assert (training.status, training.found) == ("missing", "not installed: onnxscript")
