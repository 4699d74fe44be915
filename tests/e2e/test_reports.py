"""Precisions, forms, targets and the twin side by side in one report, on every backend of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from playwright.sync_api import Browser

from tests.e2e.conftest import Finished, tks_edge
from tests.runtime.reporting.test_browser import browser  # noqa: F401 - a fixture
from tks_edge_runtime.reporting.document import schema

FOR_ORT = ["digits-t2-int8-onnxruntime-cpu", "digits-step-int8-onnxruntime-cpu"]
MIXED = [
    *(f"digits-t2-{precision}" for precision in ("fp32", "fp16", "int8")),
    *(f"digits-step-{precision}" for precision in ("fp32", "int8")),
    *FOR_ORT,
    "digits-t2-int8-openvino",
    "digits-relu-t1-fp32",
    "digits-relu-t1-int8",
]


@pytest.fixture(scope="module")
def mixed(lowered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose folder `artifacts` holds some of everything."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "artifacts").mkdir()
    for name in MIXED:
        for path in (lowered / f"{name}.onnx", lowered / f"{name}.golden.npz"):
            shutil.copy(path, folder / "artifacts")
    for path in lowered.glob("*.eval.npz"):
        shutil.copy(path, folder / "artifacts")
    return folder


@pytest.fixture(scope="module")
def on_onnxruntime(mixed: Path) -> Finished:
    return tks_edge("report", "artifacts", "--output", "onnxruntime", "--json", cwd=mixed)


@pytest.fixture(scope="module")
def on_openvino(mixed: Path) -> Finished:
    return tks_edge("report", "artifacts", "--backend", "openvino", "--output", "openvino", "--json", cwd=mixed)


def rows(report: Finished) -> dict[str, Any]:
    return {row["file"].removesuffix(".onnx"): row for row in report.document["rows"]}


def test_everything_stands_side_by_side_on_onnxruntime(on_onnxruntime: Finished, mixed: Path) -> None:
    assert on_onnxruntime.code == 0, on_onnxruntime.err
    jsonschema.validate(json.loads((mixed / "onnxruntime/report.json").read_text()), schema())
    found = rows(on_onnxruntime)
    assert set(found) == set(MIXED)
    for name, row in found.items():
        assert row["status"] == "ok"
        assert row["self_test"]["passed"]
        assert row["accuracy"]["total"] == 597
        assert row["accuracy"]["percent"] >= 97, name
        assert row["latency"]["n"] > 0
        assert row["ratio_to_twin"] is not None or row["is_twin"]
    warned = [name for name, row in found.items() if any("lowered for" in warning for warning in row["warnings"])]
    assert warned == ["digits-t2-int8-openvino"]
    precisions = [(c["name"], c["precision"]) for c in on_onnxruntime.document["conclusions"]]
    assert precisions == [("digits", "fp32"), ("digits", "fp16"), ("digits", "int8")]


def test_openvino_marks_what_it_computes_differently(on_openvino: Finished, mixed: Path) -> None:
    assert on_openvino.code == 1
    assert f"2 of {len(MIXED)} failed: {FOR_ORT[0]}.onnx, {FOR_ORT[1]}.onnx" in on_openvino.err
    assert "Give the --backend that it was lowered for." in on_openvino.err
    jsonschema.validate(json.loads((mixed / "openvino/report.json").read_text()), schema())
    found = rows(on_openvino)
    assert set(found) == set(MIXED)
    for name, row in found.items():
        if name in FOR_ORT:
            assert (row["status"], row["accuracy"], row["latency"]) == ("failed to run", None, None)
            assert "it was lowered for onnxruntime-cpu and run by openvino" in row["reason"]
        else:
            assert row["status"] == "ok", row["reason"]


def test_generic_artifacts_are_as_accurate_on_one_backend_as_on_the_other(
    on_onnxruntime: Finished, on_openvino: Finished
) -> None:
    one, other = rows(on_onnxruntime), rows(on_openvino)
    for name in MIXED:
        if "int8" in name and name not in FOR_ORT:
            assert one[name]["accuracy"] == other[name]["accuracy"], name


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_page_shows_every_row_and_says_what_failed(
    backend: str,
    browser: Browser,  # noqa: F811
    on_onnxruntime: Finished,
    on_openvino: Finished,
    mixed: Path,
) -> None:
    page = browser.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto((mixed / backend / "report.html").as_uri())
    assert {row.get_attribute("data-file") for row in page.locator("tr[data-file]").all()} == {
        f"{name}.onnx" for name in MIXED
    }
    failed = page.locator("tr.failed")
    if backend == "onnxruntime":
        assert failed.count() == page.locator(".alarm").count() == 0
    else:
        assert {row.get_attribute("data-file") for row in failed.all()} == {f"{name}.onnx" for name in FOR_ORT}
        assert all(f"{name}.onnx" in page.locator(".alarm").inner_text() for name in FOR_ORT)
        assert "it was lowered for onnxruntime-cpu and run by openvino" in (
            page.locator(".remarks").text_content() or ""
        )
    assert messages == []
    page.close()
