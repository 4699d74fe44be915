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

from tests.runtime.conftest import Build, BuildSpiking
from tks_edge_runtime.artifact import (
    FORMS,
    MAX_TIMESTEPS,
    STEP,
    TARGETS,
    Artifact,
    EvaluationSpec,
    NeuronSpec,
    Precision,
    artifact_stem,
    find_artifacts,
    parse_manifest,
    variant,
)
from tks_edge_runtime.errors import ArtifactError, InputError


def test_the_manifest_comes_back_as_it_was_written(build: Build) -> None:
    built = build()
    assert Artifact.open(built.path).manifest == built.manifest
    assert not built.manifest.is_twin


def test_a_hard_reset_and_an_empty_evaluation_come_back(build: Build) -> None:
    neuron = NeuronSpec(tau=2.0, v_threshold=1.0, v_reset=0.0, decay_input=False)
    manifest = Artifact.open(build(neuron=neuron, evaluation=None, verification=None).path).manifest
    assert (manifest.neuron, manifest.evaluation, manifest.verification) == (neuron, None, None)


def test_the_states_of_a_step_artifact_come_back(build_spiking: BuildSpiking) -> None:
    built = build_spiking(target="openvino", skipped_passes=("fold_batch_norm",))
    manifest = Artifact.open(built.path).manifest
    assert manifest == built.manifest
    assert [(state.name, state.input, state.output, state.shape, state.dtype) for state in manifest.states] == [
        ("body.0", "state.body.0", "state.body.0.out", (1, 16), "float32"),
        ("body.1", "state.body.1", "state.body.1.out", (1, 16), "float32"),
    ]


@pytest.mark.parametrize(
    ("found", "advice"), [(7, "update tks-edge-runtime"), (1, "export it again with this version")]
)
def test_another_schema_is_refused_by_name(build: Build, found: int, advice: str) -> None:
    with pytest.raises(ArtifactError, match=rf"schema {found}; this version reads schema 2: {advice}"):
        Artifact.open(build(schema_version=found).path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timesteps": 0}, "manifest.timesteps is 0, allowed are 1 to 64"),
        ({"timesteps": 1000}, "manifest.timesteps is 1000"),
        ({"encoding": "rate"}, "manifest.encoding is 'rate', not one of direct, frames"),
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


STATE = {"name": "a", "input": "state.a", "output": "state.a.out", "shape": [1, 2], "dtype": "float32", "zero": 0}
LAYER = {"path": "a", "kind": "weights", "macs": 8, "input": "spikes", "input_rate": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "stepped"}, "manifest.form is 'stepped', not one of static, step"),
        ({"form": "static"}, "manifest.form is 'static', with 2 states"),
        ({"states": []}, "manifest.form is 'step', with 0 states"),
        ({"states": None}, "manifest.states is NoneType, not a list"),
        ({"states": [STATE, STATE]}, "each needs names of its own"),
        ({"states": [STATE, STATE | {"name": "a.out", "input": "state.a.out", "output": "state.a.out.out"}]}, "of its"),
        ({"states": [STATE | {"input": "state.b"}]}, "the state 'a' goes from 'state.b' to 'state.a.out'"),
        ({"states": [STATE | {"output": "state.a"}]}, "each needs names of its own"),
        ({"states": [STATE | {"output": "v"}]}, "the state 'a' goes from 'state.a' to 'v'"),
        ({"states": [STATE | {"name": "", "input": "state.", "output": "state..out"}]}, "the state '' goes from"),
        ({"states": [STATE | {"shape": [1, 0]}]}, r"the shape of 'a' is \[1, 0\]"),
        ({"states": [STATE | {"shape": []}]}, r"the shape of 'a' is \[\]"),
        (
            {"states": [STATE | {"dtype": "bfloat16"}]},
            "the state 'a' is 'bfloat16', not one of float32, float16, int32",
        ),
        ({"states": [STATE | {"zero": 1}]}, "the zero of the state 'a' is 1, which is none of float32"),
        ({"states": [STATE | {"dtype": "uint8", "zero": 256}]}, "the zero of the state 'a' is 256, which is none of"),
        ({"states": [STATE | {"dtype": "int8", "zero": -129}]}, "is -129, which is none of int8"),
        ({"target": "tensorflow"}, "manifest.target is 'tensorflow', not one of generic, onnxruntime-cpu, openvino"),
        ({"layers": [LAYER | {"kind": "pool"}]}, "layers: the kind of 'a' is 'pool', not one of weights, neuron"),
        ({"layers": [LAYER | {"input": None}]}, "layers: the input of 'a' is 'None', not one of analogue, spikes"),
        ({"layers": [LAYER | {"input_rate": None}]}, "the layer 'a' has 8 multiply-accumulates and the rate None"),
        ({"layers": [LAYER | {"input_rate": -0.5}]}, "the layer 'a' has 8 multiply-accumulates and the rate -0.5"),
        ({"layers": [LAYER | {"macs": -1}]}, "the layer 'a' has -1 multiply-accumulates"),
        ({"layers": [LAYER | {"path": ""}]}, "the layer '' has"),
        ({"layers": [LAYER, LAYER]}, "manifest.layers names a layer twice"),
        ({"layers": [LAYER | {"kind": "neuron", "fire_rate": 1.5}]}, "the rate 1.5"),
        ({"layers": [LAYER | {"outputs": "logits"}]}, r"manifest.layers\[0\].outputs is str, not a list"),
        ({"skipped_passes": "unroll"}, "manifest.skipped_passes is str, not a list"),
        ({"timesteps": MAX_TIMESTEPS + 1}, "manifest.timesteps is 65"),
    ],
)
def test_a_step_manifest_that_makes_no_sense_is_refused(
    build_spiking: BuildSpiking, change: dict[str, Any], message: str
) -> None:
    document = json.loads(build_spiking().manifest.to_json()) | change
    with pytest.raises(ArtifactError, match=message) as caught:
        parse_manifest(json.dumps(document), "some.onnx")
    assert len(str(caught.value).splitlines()) == 1


def test_what_an_older_version_did_not_write_has_its_default(build: Build) -> None:
    document = json.loads(build().manifest.to_json())
    del document["frames"], document["skipped_passes"], document["verification"]["agreement"], document["layers"]
    manifest = parse_manifest(json.dumps(document), "some.onnx")
    assert (manifest.frames, manifest.skipped_passes, manifest.layers) == (None, (), ())


@pytest.mark.parametrize("field", ["readout", "encoding", "precision", "classes"])
def test_a_missing_field_is_named(build: Build, field: str) -> None:
    document = json.loads(build().manifest.to_json())
    del document[field], document["input"]["layout"]
    with pytest.raises(ArtifactError, match=f"manifest lacks {field}"):
        parse_manifest(json.dumps(document), "some.onnx")


def test_no_two_artifacts_of_a_network_share_a_file() -> None:
    assert artifact_stem("digits", 2, "fp32") == "digits-t2-fp32"
    assert artifact_stem("digits", 2, "int8", target="onnxruntime-cpu") == "digits-t2-int8-onnxruntime-cpu"
    assert artifact_stem("digits", 8, "fp32", form=STEP) == artifact_stem("digits", 4, "fp32", form=STEP)
    wanted = [(form, target, precision) for form in FORMS for target in TARGETS for precision in ("fp32", "int8")]
    stems = {artifact_stem("digits", 2, p, form=form, target=target) for form, target, p in wanted}
    names = {variant(p, form, target) for form, target, p in wanted}
    assert len(stems) == len(names) == len(wanted)
    assert {"fp32", "fp32 step", "int8 openvino", "int8 step openvino"} <= names


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "[" * 100_000, '{"schema_version": "1"}'])
def test_a_manifest_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"some\.onnx"):
        parse_manifest(text, "some.onnx")


def test_every_type_confusion_is_an_artifact_error(build_spiking: BuildSpiking) -> None:
    """Whatever value stands in whatever field, it is read or refused with this error."""
    document = json.loads(build_spiking().manifest.to_json())
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
    with pytest.raises(ArtifactError, match="input is object, which are no numbers"):
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


def test_artifacts_of_one_name_are_sorted_by_precision_form_target_and_t(
    build_spiking: BuildSpiking, tmp_path: Path
) -> None:
    folder = tmp_path / "sorted"
    expected = [
        ("fp32", "static", "generic", 1),
        ("fp32", "static", "generic", 4),
        ("fp32", "static", "openvino", 2),
        ("fp32", "step", "generic", 4),
        ("fp16", "static", "generic", 1),
        ("int8", "static", "generic", 1),
        ("int4", "static", "generic", 1),
    ]
    for index, (precision, form, target, timesteps) in enumerate(reversed(expected)):
        formats = Precision(precision, "any", "any", "any")
        built = build_spiking(form=form, timesteps=timesteps, target=target, precision=formats)
        folder.mkdir(exist_ok=True)
        built.path.rename(folder / f"{index}.onnx")
    found = [(m.precision.name, m.form, m.target, m.timesteps) for m in (a.manifest for a in find_artifacts(folder))]
    assert found == expected


def test_what_a_killed_export_left_behind_is_no_artifact(build: Build) -> None:
    path = build().path
    path.with_name(".small-t1-fp32-a1b2c3.partial.onnx").write_bytes(b"half")
    assert [a.path for a in find_artifacts(path.parent)] == [path]


def test_a_folder_without_artifacts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no .onnx file"):
        find_artifacts(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_artifacts(tmp_path / "none")
