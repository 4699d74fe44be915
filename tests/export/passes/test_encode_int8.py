"""Handing spikes over as integers changes no value: Q/DQ of what is a whole multiple of the step already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from tests.export.conftest import Prepare
from tests.export.passes.graphs import model, named, normal, operators, run
from tks_edge_export import Calibration, Compiler, Options, compiler
from tks_edge_export.codes import Code
from tks_edge_export.grid import grids
from tks_edge_export.passes import encode_int8
from tks_edge_export.quantization import INT8, Int8Weight
from tks_edge_models import LIF

SPIKES = helper.make_node("Sign", ["x"], ["layer.spikes"])
"""Stands for a LIF layer: known by the name of what it gives."""


class Unchanged:
    """In the place of the pass, it leaves the rounded weights in float."""

    def __init__(self, *_: Any) -> None: ...

    def __call__(self, _: ir.Model) -> None: ...


@pytest.mark.parametrize(
    ("name", "form", "target"),
    [
        ("tiny", "static", "generic"),
        ("tiny", "step", "openvino"),
        ("sew_resnet18", "static", "openvino"),
    ],
)
def test_the_pass_changes_no_spike(
    name: str, form: str, target: str, prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepared, options = prepare(name), Options(2, form=form, precision="int8", target=target)
    encoded = prepared.lower(options, tmp_path)
    monkeypatch.setattr(compiler, "EncodeInt8", Unchanged)
    in_float = prepared.lower(options, tmp_path)
    assert "QuantizeLinear" in operators(encoded.compiled.model)
    assert "QuantizeLinear" not in operators(in_float.compiled.model)
    batch = prepared.inputs[:2]
    found, expected = (
        lowered.with_spikes(tmp_path / "watched.onnx").run("onnxruntime", batch) for lowered in (encoded, in_float)
    )
    assert found.keys() == expected.keys()
    for output in found.keys() - {"logits"}:
        np.testing.assert_array_equal(found[output], expected[output], err_msg=output)
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=0, atol=1e-5)  # the same sums, but not fused


def layer(*before: Any, value: str = "layer.spikes", rounded: bool = True) -> ir.Model:
    """Spikes, what stands between, and a matrix product with a rounded weight."""
    codes, scale = np.arange(-3, 5, dtype=np.int8).reshape(4, 2), np.array([0.5, 0.25], np.float32)
    weight = (codes * scale).astype(np.float32)
    graph = model(
        [SPIKES, *before, helper.make_node("MatMul", [value, "w"], ["y"])], {"w": weight}, {"x": [2, 4]}, [2, 2]
    )
    if rounded:
        unit = scale.copy()
        graph.graph.initializers["w"].meta[INT8] = Int8Weight("lin", codes, scale, 1, None, unit)
    return graph


@pytest.mark.parametrize(
    ("graph", "dtype", "reason"),
    [
        (layer(), "int8", None),
        (layer(rounded=False), "int8", "its weight was not rounded"),
        (
            layer(helper.make_node("Exp", ["layer.spikes"], ["e"]), value="e"),
            "int8",
            "its input is no whole multiple of a step",
        ),
        (layer(value="x"), "int8", "its input is no whole multiple of a step"),
    ],
    ids=["fits", "float weight", "no grid", "input of the graph"],
)
def test_a_layer_stays_in_float_with_a_reason(graph: ir.Model, dtype: str, reason: str | None) -> None:
    node = named(graph, "y")
    assert encode_int8.refusal(node, grids(graph.graph), dtype, Calibration()) == reason
    calibrated = Calibration(inputs={"lin": Code(0.1, 0, signed=True)})
    expected = reason if reason == "its weight was not rounded" else None
    assert encode_int8.refusal(node, grids(graph.graph), dtype, calibrated) == expected


def test_an_overflow_is_refused_by_the_type_that_overflows() -> None:
    doubled = [helper.make_node("Add", [f"s{i}", f"s{i}"], [f"s{i + 1}"]) for i in range(1, 8)]
    graph = layer(helper.make_node("Add", ["layer.spikes", "layer.spikes"], ["s1"]), *doubled[:6], value="s7")
    node, known = named(graph, "y"), grids(graph.graph)
    assert encode_int8.refusal(node, known, "int8", Calibration()) == "its input overflows 8 bits"  # 128
    assert encode_int8.refusal(node, known, "uint8", Calibration()) is None


class Shared(nn.Module):
    """Two layers read the same spikes, and a neuron the sum of both."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.neuron = nn.Linear(6, 8), LIF()
        self.left, self.right = nn.Linear(8, 5), nn.Linear(8, 5)
        self.second, self.last = LIF(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.first(x))
        logits: Tensor = self.last(self.second(self.left(spikes) + self.right(spikes)))
        return logits


@pytest.fixture(scope="module")
def shared() -> Compiler:
    torch.manual_seed(0)
    return Compiler(Shared().eval(), torch.randn(2, 6))


def test_spikes_are_encoded_once_for_all_layers_that_read_them(shared: Compiler) -> None:
    graph = shared.compile(Options(1, precision="int8", target="openvino")).model
    quantized = [node for node in graph.graph if node.op_type == "QuantizeLinear"]
    assert [node.inputs[0].name for node in quantized if node.inputs[0] is not None] == ["neuron.spikes"]
    assert quantized[0].outputs[0].dtype == ir.DataType.UINT8
    readers = {use.node.op_type for use in quantized[0].outputs[0].uses()}
    assert readers == {"DequantizeLinear"}


def test_a_rounded_input_of_the_graph_is_encoded_in_front(shared: Compiler) -> None:
    x = normal(2, 6)
    for target in ("generic", "onnxruntime-cpu", "openvino"):
        options = Options(2, precision="int8", target=target, quantize_ends=True)
        graph = shared.compile(options, [x]).model
        first = next(iter(graph.graph))
        assert first.op_type in ("QuantizeLinear", "DequantizeLinear")
        readers = {use.node.op_type for use in graph.graph.inputs[0].uses()}
        assert readers == {"QuantizeLinear"}
        assert np.isfinite(run(graph, input=x)).all()


class Pooled(nn.Module):
    """Max-pooling, twice, between a neuron and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.neuron = nn.Conv2d(2, 4, 3, padding=1), LIF()
        self.pools = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2))
        self.second, self.last = nn.Conv2d(4, 4, 1), LIF()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.last(self.second(self.pools(self.neuron(self.first(x)))))
        logits: Tensor = self.head(spikes.flatten(1))
        return logits


@pytest.mark.parametrize(("target", "in_8_bits"), [("openvino", 2), ("onnxruntime-cpu", 0), ("generic", 0)])
def test_spikes_are_pooled_in_8_bits_where_that_is_faster(target: str, in_8_bits: int) -> None:
    torch.manual_seed(0)
    x = normal(2, 2, 8, 8)
    graph = Compiler(Pooled().eval(), torch.from_numpy(x)).compile(Options(2, precision="int8", target=target), [x])
    nodes = list(graph.model.graph)
    pooled = [node.inputs[0] for node in nodes if node.op_type == "MaxPool"]
    producers = [value.producer() for value in pooled if value is not None]
    assert [node.op_type for node in producers if node is not None].count("DequantizeLinear") == in_8_bits
    encoded = [node.inputs[0] for node in nodes if node.op_type in ("QuantizeLinear", "Cast")]
    assert len(set(encoded)) == len(encoded), "a value is encoded once"
