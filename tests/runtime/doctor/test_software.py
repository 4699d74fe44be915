"""What doctor finds on a recorded machine, and with this or that missing."""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.recorded import record
from tks_edge_runtime.backends import BACKENDS
from tks_edge_runtime.doctor import Finding, examine


def findings(root: Path, folder: Path = Path()) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(root, folder).findings}


def test_a_machine_that_has_everything(tmp_path: Path) -> None:
    examination = examine(record(tmp_path))
    found = {finding.subject: finding for finding in examination.findings}
    assert examination.backends == ("onnxruntime", "openvino")
    assert found["processor"] == Finding(
        "processor", "ok", f"Test CPU 9000 ({examination.facts['architecture']}), 2 cores, 4 threads"
    )
    assert found["memory"].found == "8.2 of 16.4 GB available"
    assert found["load"].status == "ok"
    for name in examination.backends:
        assert found[f"backend {name}"].status == "ok"
        assert found[f"backend {name}"].found.startswith(metadata.version(name))


def test_a_governor_that_follows_the_load_is_warned_of(tmp_path: Path) -> None:
    governor = findings(record(tmp_path))["CPU governor"]
    assert (governor.status, governor.found) == ("warning", "performance, powersave")
    assert governor.advice is not None
    assert "cpupower frequency-set -g performance" in governor.advice


def test_a_busy_machine_is_warned_of(tmp_path: Path) -> None:
    (record(tmp_path) / "proc/loadavg").write_text("3.9 1 1 1/1 1\n")
    assert findings(tmp_path)["load"].status == "warning"


def test_a_machine_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    found = findings(tmp_path, tmp_path / "no such folder")
    assert {found[name].status for name in ("CPU governor", "load", "memory", "disk")} == {"absent"}


@pytest.mark.parametrize(("name", "status"), [("onnxruntime", "missing"), ("openvino", "absent")])
def test_a_missing_backend_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, status: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    examination = examine(tmp_path)
    backend = next(finding for finding in examination.findings if finding.subject == f"backend {name}")
    assert examination.backends == tuple(other for other in BACKENDS if other != name)
    assert backend.status == status
    assert f"pip install {name}" in str(backend.advice)


@pytest.mark.parametrize(
    ("installed", "status"),
    [({"tks-edge"}, "ok"), ({"tks-edge-runtime"}, "ok"), (set(), "ok"), ({"tks-edge", "tks-edge-runtime"}, "warning")],
)
def test_both_distributions_at_once_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str], status: str
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    found = findings(tmp_path)
    assert found["tks-edge"].status == status
    assert found["numpy"] == Finding("numpy", "missing", "not installed", "pip install numpy")
    if status == "warning":
        assert "pip uninstall tks-edge tks-edge-runtime" in str(found["tks-edge"].advice)


def test_training_is_looked_for_without_importing_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    def find_spec(name: str, *_: Any) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    training = findings(tmp_path)["training"]
    assert training.status == "absent"
    assert "pip install '.[train]'" in str(training.advice)


def test_a_library_that_training_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    training = findings(tmp_path)["training"]
    assert (training.status, training.found) == ("missing", "not installed: onnxscript")


def test_the_driver_of_a_gpu_is_named_and_that_nothing_uses_it(tmp_path: Path) -> None:
    assert findings(tmp_path)["GPU"].status == "absent"
    folder = tmp_path / "proc/driver/nvidia"
    folder.mkdir(parents=True)
    (folder / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.03\n")
    gpu = findings(tmp_path)["GPU"]
    assert (gpu.status, gpu.found[-10:]) == ("ok", "580.159.03")
    assert "not used" in str(gpu.advice)
