"""Every precision, form and target from the command line: written, verified, and as good as promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.e2e.conftest import Finished, tks_edge

STEPS = (1, 2, 4, 8)
PRECISIONS = ("fp32", "fp16", "int8")
AS_ASKED = [f"digits-{unrolled}-{precision}" for precision in PRECISIONS for unrolled in ("t1", "t2", "t4", "step")]
INT8 = {
    target: [f"digits-t{t}-int8{suffix}" for t in STEPS]
    for target, suffix in (("generic", ""), ("onnxruntime-cpu", "-onnxruntime-cpu"), ("openvino", "-openvino"))
}
TWINS = ["digits-relu-t1-fp32", "digits-relu-t1-int8"]
AGREEMENT = {1: 0.97, 2: 0.985, 4: 0.985, 8: 0.985}
"""The same seed trains other weights on another CPU, so what one training gives is no bound for the next.

Over six seeds int8 agreed with fp32 on 97.8 % and more at T = 1, where a single spike decides most, and on 99.3 % and
more from T = 2 on (docs/precision.md); these are some tenths of a point below.
"""
ALL = list(
    dict.fromkeys(
        [*AS_ASKED, *(name for names in INT8.values() for name in names), "digits-step-int8-onnxruntime-cpu", *TWINS]
    )
)


@pytest.fixture(scope="module")
def verified(demo: Path, lowered: Path) -> dict[str, Finished]:
    """What `tks-edge verify` says of every artifact: all predictions, and the spikes of some samples."""
    runs = demo / "demo/runs"
    return {
        name: tks_edge(
            "verify",
            lowered / f"{name}.onnx",
            "--against",
            runs / ("digits-relu" if name in TWINS else "digits"),
            "--samples",
            "16",
            "--json",
            cwd=demo,
        )
        for name in ALL
    }


def test_everything_that_was_asked_for_is_written(lowered: Path) -> None:
    assert {path.stem for path in lowered.glob("*.onnx")} == set(ALL)
    assert {path.name for path in lowered.glob("*.golden.npz")} == {f"{name}.golden.npz" for name in ALL}
    assert len(list(lowered.iterdir())) == 2 * len(ALL) + 1


def test_every_artifact_is_its_network(verified: dict[str, Finished]) -> None:
    for name, done in verified.items():
        assert done.code == 0, f"{name}: {done.err}"
        document = done.document
        assert document["problem"] is None
        assert document["top1_agreement"]["samples"] == 597


def test_fp32_predicts_what_the_network_does(verified: dict[str, Finished]) -> None:
    for name in AS_ASKED:
        if name.endswith("fp32"):
            agreement = verified[name].document["top1_agreement"]
            assert agreement["agreeing"] == agreement["samples"], name


@pytest.mark.parametrize("target", INT8)
def test_int8_agrees_with_fp32_at_every_t(target: str, verified: dict[str, Finished]) -> None:
    for timesteps, name in zip(STEPS, INT8[target], strict=True):
        agreement = verified[name].document["top1_agreement"]
        assert agreement["agreeing"] / agreement["samples"] >= AGREEMENT[timesteps], name


@pytest.mark.parametrize("target", ["generic", "openvino"])
def test_int8_spikes_are_exact_behind_integer_layers_and_every_layer_fires(
    target: str, verified: dict[str, Finished]
) -> None:
    for name in INT8[target]:
        layers = verified[name].document["layers"]
        assert [layer["layer"] for layer in layers if layer["exact"]] == ["body.2", "body.4", "body.6", "body.8"]
        for layer in layers:
            assert 0 < layer["fire_rate"] < 1, layer["layer"]
            if layer["exact"]:
                assert all(step["borderline"] == step["faults"] == 0 for step in layer["timesteps"]), name


def test_the_step_form_predicts_what_the_static_one_does(verified: dict[str, Finished]) -> None:
    for precision in PRECISIONS:
        static, step = (verified[f"digits-{form}-{precision}"].document for form in ("t4", "step"))
        assert step["top1_agreement"] == static["top1_agreement"]
        rates = [[layer["fire_rate"] for layer in found["layers"]] for found in (static, step)]
        assert rates[0] == rates[1]


def test_int8_is_smaller_and_names_what_is_in_it(lowered: Path) -> None:
    size = {name: (lowered / f"{name}.onnx").stat().st_size for name in ALL}
    for unrolled in ("t1", "t2", "t4", "step"):
        int8, fp16, fp32 = (size[f"digits-{unrolled}-{precision}"] for precision in ("int8", "fp16", "fp32"))
        assert int8 < fp16 < fp32
    text = tks_edge("info", lowered / "digits-t2-int8.onnx", cwd=lowered).out
    assert "int8 weights (float32 in the first layer and the classifier), int8 spikes, float32 membrane" in text
    text = tks_edge("info", lowered / "digits-step-int8-onnxruntime-cpu.onnx", cwd=lowered).out
    assert "uint8 spikes, uint8 membrane" in text
    assert "step: one timestep, its 5 states as inputs and outputs" in text


@pytest.mark.parametrize(
    ("name", "weight", "layer"),
    [
        ("digits-t2-fp32", "body.5.0.weight.folded", "body.6"),
        ("digits-t2-int8", "body.3.0.weight.rounded.codes", "body.4"),
    ],
)
def test_a_tampered_artifact_fails_and_the_layer_is_named(
    name: str, weight: str, layer: str, demo: Path, lowered: Path, tmp_path: Path
) -> None:
    model = onnx.load(lowered / f"{name}.onnx")
    (found,) = (initializer for initializer in model.graph.initializer if initializer.name == weight)
    array = numpy_helper.to_array(found).copy()
    largest = np.unravel_index(np.abs(array.astype(np.float32)).argmax(), array.shape)
    array[largest] = -array[largest]
    found.CopyFrom(numpy_helper.from_array(array, weight))
    onnx.save(model, tmp_path / f"{name}.onnx")
    few = ("--samples", "16", "--eval-samples", "16", "--bisect", "--json")
    done = tks_edge("verify", f"{name}.onnx", "--against", demo / "demo/runs/digits", *few, cwd=tmp_path)
    assert done.code == 1
    assert done.document["first_diverging"] == {"layer": layer, "timestep": 1}
    assert done.document["culprit"] is None
    assert f"the spikes differ first in layer {layer!r} at timestep 1" in done.err
    assert "Traceback" not in done.err
