"""`--dry-run`: what would be done is said, and nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import Build
from tests.runtime.fake_gpu import FakeGpu


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, and what is in it."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("command", ["report", "sweep"])
def test_what_would_be_measured_and_written_is_said(
    command: str, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, output = build().path.parent, tmp_path / "out"
    output.mkdir()
    (output / "report.md").touch()
    before = tree(tmp_path)
    backend = ("--backend", "onnxruntime")
    found = document(invoke(command, folder, "--output", output, *backend, "--dry-run", "--json"))
    assert tree(tmp_path) == before
    assert found["dry_run"]
    assert "small-t2-fp32.onnx on onnxruntime cpu for 3 s" in found["computes"][0]
    fates = {Path(one["path"]).name: one["fate"] for one in found["writes"]}
    assert (fates["report.html"], fates["report.md"]) == ("new", "replaced")
    assert ("turn-001.json" in fates) == (command == "sweep")
    assert invoke(command, folder, *backend, "--dry-run").stdout.endswith("nothing was computed, written or sent.\n")
    fails(invoke(command, folder, *backend, "--preset", "quik", "--dry-run"), 2, "Did you mean 'quick'?")
    assert tree(tmp_path) == before


def test_an_engine_that_is_there_would_be_kept(gpu: FakeGpu, build: Build, tmp_path: Path) -> None:
    path = build().path
    before = tree(tmp_path)
    found = document(invoke("build", path, "--dry-run", "--json"))
    assert [one["fate"] for one in found["writes"]] == ["new", "new"]
    assert tree(tmp_path) == before
    built = document(invoke("build", path, "--json"))["engines"][0]
    found = document(invoke("build", path, "--dry-run", "--json"))
    assert [(one["path"], one["fate"]) for one in found["writes"]] == [
        (built["engine"], "kept"),
        (built["sidecar"], "kept"),
    ]
    assert found["computes"] == []
    assert len(document(invoke("build", path, "--force", "--dry-run", "--json"))["computes"]) == 1
