"""The contract between export and runtime: what comes back, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.conftest import Build
from tks_edge_runtime.artifact import Artifact, EvaluationSpec, NeuronSpec, find_artifacts, parse_manifest
from tks_edge_runtime.errors import ArtifactError, InputError


def test_the_manifest_comes_back_as_it_was_written(build: Build) -> None:
    built = build()
    assert Artifact.open(built.path).manifest == built.manifest
    assert not built.manifest.is_twin


def test_a_hard_reset_and_an_empty_evaluation_come_back(build: Build) -> None:
    neuron = NeuronSpec(tau=2.0, v_threshold=1.0, v_reset=0.0, decay_input=False)
    manifest = Artifact.open(build(neuron=neuron, evaluation=None, verification=None).path).manifest
    assert (manifest.neuron, manifest.evaluation, manifest.verification) == (neuron, None, None)


def test_a_newer_schema_is_refused_by_name(build: Build) -> None:
    with pytest.raises(ArtifactError, match=r"schema 7; this version reads schema 1: update tks-edge-runtime"):
        Artifact.open(build(schema_version=7).path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timesteps": 0}, "manifest.timesteps is 0, allowed are 1 to 64"),
        ({"timesteps": 1000}, "manifest.timesteps is 1000"),
        ({"timesteps": "2"}, "manifest.timesteps is '2', not int"),
        ({"timesteps": True}, "manifest.timesteps is True, not int"),
        ({"classes": []}, "manifest.classes is empty"),
        ({"classes": "abc"}, "manifest.classes is str, not a list"),
        ({"classes": [1]}, r"manifest.classes\[0\] is 1, not str"),
        ({"golden_file": "../golden.npz"}, "not a plain file name"),
        ({"golden_file": ".."}, "not a plain file name"),
        ({"golden_file": ""}, "not a plain file name"),
        ({"input": None}, "manifest.input is NoneType, not an object"),
        ({"tools": []}, "manifest.tools is list, not an object"),
        ({"accuracies": [{"timesteps": 1, "correct": 0, "total": 0}]}, "0 of 0"),
        ({"preprocessing": {"mode": "HAL", "resize": None, "crop": [8, 8]}}, "HAL"),
        ({"preprocessing": {"mode": "L", "resize": None, "crop": [8]}}, "crop has 1 entries, not 2"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(build: Build, change: dict[str, Any], message: str) -> None:
    document = json.loads(build().manifest.to_json()) | change
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(json.dumps(document), "some.onnx")


def test_a_missing_field_is_named(build: Build) -> None:
    document = json.loads(build().manifest.to_json())
    del document["readout"], document["input"]["layout"]
    with pytest.raises(ArtifactError, match="manifest lacks readout"):
        parse_manifest(json.dumps(document), "some.onnx")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "[" * 100_000, '{"schema_version": "1"}'])
def test_a_manifest_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"some\.onnx"):
        parse_manifest(text, "some.onnx")


def test_every_type_confusion_is_an_artifact_error(build: Build) -> None:
    """Whatever value stands in whatever field, it is read or refused with this error."""
    document = json.loads(build().manifest.to_json())
    values: list[Any] = [None, -1, 1.5, "x", [], {}, [[]], [None], {"a": None}]
    for name, value in itertools.product(document, values):
        with contextlib.suppress(ArtifactError):
            parse_manifest(json.dumps(document | {name: value}), "some.onnx")


def test_other_files_are_refused(tmp_path: Path, build: Build) -> None:
    with pytest.raises(ArtifactError, match=r"is not an .onnx file"):
        Artifact.open(tmp_path / "model.pt")
    with pytest.raises(ArtifactError, match="No such file"):
        Artifact.open(tmp_path / "model.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match="holds no tks-edge manifest"):
        Artifact.open(tmp_path / "empty.onnx")


def test_the_golden_pair_and_the_evaluation_set_come_back(build: Build) -> None:
    built = build()
    artifact = Artifact.open(built.path)
    golden_input, logits = artifact.golden()
    np.testing.assert_array_equal(golden_input, built.inputs[:1])
    np.testing.assert_array_equal(logits, built.logits(built.inputs[:1]))
    inputs, labels = artifact.evaluation_set()
    np.testing.assert_array_equal(inputs, built.inputs)
    np.testing.assert_array_equal(labels, built.labels)


def test_missing_files_beside_the_artifact_are_named(build: Build) -> None:
    built = build()
    artifact = Artifact.open(built.path)
    for file in built.path.parent.glob("*.npz"):
        file.unlink()
    with pytest.raises(ArtifactError, match=r"small-t2-fp32\.golden\.npz is missing"):
        artifact.golden()
    with pytest.raises(ArtifactError, match=r"small-t2-fp32\.eval\.npz is missing"):
        artifact.evaluation_set()


def test_an_artifact_without_an_evaluation_set_says_so(build: Build) -> None:
    with pytest.raises(ArtifactError, match="exported without an evaluation set"):
        Artifact.open(build(evaluation=None).path).evaluation_set()


def test_another_evaluation_set_is_refused(build: Build) -> None:
    built = build()
    spec = built.manifest.evaluation
    assert isinstance(spec, EvaluationSpec)
    artifact = dataclasses.replace(
        Artifact.open(built.path),
        manifest=dataclasses.replace(built.manifest, evaluation=dataclasses.replace(spec, sha256="1" * 64)),
    )
    with pytest.raises(ArtifactError, match=r"is not the evaluation set that small-t2-fp32.onnx was exported with"):
        artifact.evaluation_set()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_npz_is_never_another_exception(build: Build, compressed: bool) -> None:
    built = build()
    artifact = Artifact.open(built.path)
    path = built.path.with_name(built.manifest.golden_file)
    save = np.savez_compressed if compressed else np.savez
    save(path, input=built.inputs[:1], logits=np.zeros((1, 4), np.float32))
    data, chance = path.read_bytes(), random.Random(0)  # noqa: S311 - no secret
    for length in range(0, len(data), 29):
        path.write_bytes(data[:length])
        with pytest.raises(ArtifactError, match="damaged"):
            artifact.golden()
    for _ in range(500):
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        with contextlib.suppress(ArtifactError):  # most flips are harmless, or refused; nothing else may happen
            artifact.golden()


def test_a_bare_array_instead_of_an_archive_is_refused(build: Build) -> None:
    built = build()
    with built.path.with_name(built.manifest.golden_file).open("wb") as file:
        np.save(file, built.inputs)
    with pytest.raises(ArtifactError, match="damaged"):
        Artifact.open(built.path).golden()


def test_pickled_objects_are_never_loaded(build: Build) -> None:
    built = build()
    np.savez(
        built.path.with_name(built.manifest.golden_file), input=np.array([object()], dtype=object), logits=np.zeros(1)
    )
    with pytest.raises(ArtifactError, match="allow_pickle=False"):
        Artifact.open(built.path).golden()


def test_artifacts_of_a_folder_are_sorted_by_name_and_t_with_the_twin_last(build: Build) -> None:
    relu = dataclasses.replace(build(timesteps=4).manifest.network, neuron="relu")
    build(name="a-relu", timesteps=1, network=relu, neuron=None)
    folder = build(timesteps=1).path.parent
    assert [a.path.name for a in find_artifacts(folder)] == [
        "small-t1-fp32.onnx",
        "small-t4-fp32.onnx",
        "a-relu-t1-fp32.onnx",
    ]


def test_what_a_killed_export_left_behind_is_no_artifact(build: Build) -> None:
    path = build().path
    path.with_name(".small-t1-fp32-a1b2c3.partial.onnx").write_bytes(b"half")
    assert [a.path for a in find_artifacts(path.parent)] == [path]


def test_a_folder_without_artifacts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no .onnx file"):
        find_artifacts(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_artifacts(tmp_path / "none")
