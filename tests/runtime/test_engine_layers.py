"""An engine has the precision that was asked for, or is not kept: on FakeTensorRT, and in the inspector's words."""

from __future__ import annotations

import json

import pytest

from tests.runtime.conftest import Build
from tests.runtime.fake_gpu import FakeGpu
from tests.runtime.precisions import in_precision
from tks_edge_runtime.engine_build import build_engine
from tks_edge_runtime.engine_build.layers import check_layers, count, engine_layers
from tks_edge_runtime.errors import CheckError


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_layers_have_the_precision_of_the_file(gpu: FakeGpu, build: Build, precision: str) -> None:
    engine = build_engine(in_precision(build(), precision))
    assert engine.layers.get(precision, 0) >= 1
    assert engine.notes == ()
    assert gpu.config.flags == set()


@pytest.mark.parametrize(("precision", "quietly"), [("fp16", "Float"), ("int8", "Float"), ("int8", "Half")])
def test_an_engine_in_another_precision_is_not_kept(gpu: FakeGpu, build: Build, precision: str, quietly: str) -> None:
    path = in_precision(build(), precision)
    gpu.trt.computes_in = {"node_linear": quietly}
    got = {"Float": "fp32", "Half": "fp16"}[quietly]
    with pytest.raises(CheckError, match=rf"1 of 1 layers .*node_linear \({got} in place of {precision}\)"):
        build_engine(path)
    assert gpu.engines() == []


@pytest.mark.parametrize("promised", ["fp16", "int8"])
def test_a_graph_without_the_precision_of_its_manifest_is_refused(gpu: FakeGpu, build: Build, promised: str) -> None:
    path = in_precision(build(), "fp32", promised)
    with pytest.raises(CheckError, match=f"promises {promised}, and its graph multiplies in fp32 alone"):
        build_engine(path)


def test_a_graph_with_less_than_its_manifest_promises_is_refused(gpu: FakeGpu, build: Build) -> None:
    path = in_precision(build(), "fp16", "fp32")
    with pytest.raises(CheckError, match="promises fp32, and its graph multiplies in less: node_linear"):
        build_engine(path)


def test_an_inspector_that_says_nothing_is_noted(gpu: FakeGpu, build: Build) -> None:
    gpu.trt.details = False
    engine = build_engine(in_precision(build(), "int8"))
    assert engine.layers == {}
    assert engine.notes == ("TensorRT does not say in which precision the layers compute: not checked.",)


# As TensorRT 8 to 10 write them, with a context and without.
INSPECTED = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to node_conv2d + PWN(node_relu)",
            "LayerType": "Reformat",
            "Inputs": [{"Format/Datatype": "Row major linear FP32"}],
        },
        {
            "Name": "node_conv2d + PWN(node_relu)",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
            "Weights": {"Type": "Int8", "Count": 9408},
        },
        {
            "Name": "node_conv2d_1",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
            "Weights": {"Type": "Half", "Count": 9408},
        },
        {
            "Name": "__myl_Cast_myl0_3",
            "LayerType": "kgen",
            "Inputs": [{"Format/Datatype": "Bool"}],
            "Metadata": "[ONNX Layer: body.0.kept]\x1f[ONNX Layer: node_linear]",
        },
    ]
}


def test_an_inspectors_words_are_understood() -> None:
    layers = engine_layers(json.dumps(INSPECTED))
    assert count(layers) == {"int8": 1, "fp16": 1, "other": 1}
    assert [layer.holds("node_conv2d") for layer in layers] == [True, False, False]
    assert [layer.holds("node_conv2d_1") for layer in layers] == [False, True, False]
    assert [layer.holds("node_linear") for layer in layers] == [False, False, True]
    assert check_layers(None, {"node_conv2d": "int8", "node_conv2d_1": "fp16"}, layers, "x.onnx") == ()
    with pytest.raises(CheckError, match=r"1 of 2 layers.*node_conv2d_1 \(fp16 in place of int8\)"):
        check_layers(None, {"node_conv2d": "int8", "node_conv2d_1": "int8"}, layers, "x.onnx")
    (note,) = check_layers(None, {"node_conv2d": "int8", "node_gone": "fp16"}, layers, "x.onnx")
    assert note == "TensorRT does not say what became of node_gone: not checked."
    with pytest.raises(CheckError, match="without a single layer in int8"):
        check_layers(None, {"node_gone": "int8"}, layers[1:], "x.onnx")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": ["conv", "relu"]}', '{"Layers": null}'])
def test_what_an_inspector_cannot_tell_is_nothing(text: str) -> None:
    assert engine_layers(text) == []
