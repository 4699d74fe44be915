"""The metadata reader against files of the onnx package, whole and damaged."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.runtime.conftest import Build
from tks_edge_runtime.errors import ArtifactError
from tks_edge_runtime.onnx_metadata import read_metadata

TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(TEXTS, TEXTS, max_size=4))
def test_reads_what_the_onnx_package_wrote(tmp_path: Path, metadata: dict[str, str]) -> None:
    model = helper.make_model(helper.make_graph([], "empty", [], []))
    helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "model.onnx")
    assert read_metadata(tmp_path / "model.onnx") == metadata


def test_any_truncation_is_an_artifact_error_or_loses_metadata(build: Build) -> None:
    built = build()
    data, metadata = built.path.read_bytes(), read_metadata(built.path)
    for length in [*range(0, len(data), 97), len(data) - 1]:
        built.path.write_bytes(data[:length])
        try:
            assert read_metadata(built.path) != metadata
        except ArtifactError:
            continue


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.onnx"
    path.write_bytes(data)
    with contextlib.suppress(ArtifactError):
        assert isinstance(read_metadata(path), dict)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        read_metadata(tmp_path / "none.onnx")
    with pytest.raises(ArtifactError, match="Is a directory"):
        read_metadata(tmp_path)
