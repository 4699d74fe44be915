"""Handing spikes over as integers changes no value: Q/DQ of what is a whole multiple of the step already."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from tests.export.conftest import Prepare
from tests.export.lowering import Array, Prepared, each_network
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


@each_network("tiny", "sew_resnet18")
@pytest.mark.parametrize(("form", "target"), [("static", "generic"), ("static", "openvino"), ("step", "openvino")])
def test_the_pass_changes_no_spike(
    name: str, prepare: Prepare, form: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, options = prepare(name), Options(2, form=form, precision="int8", target=target)
    encoded = prepared.compiler.compile(options).model
    monkeypatch.setattr(compiler, "EncodeInt8", Unchanged)
    in_float = prepared.compiler.compile(options).model
    assert "QuantizeLinear" in operators(encoded)
    assert "QuantizeLinear" not in operators(in_float)
    assert all_spikes(encoded, prepared).keys() == all_spikes(in_float, prepared).keys()
    for path, spikes in all_spikes(encoded, prepared).items():
        np.testing.assert_array_equal(all_spikes(in_float, prepared)[path], spikes, err_msg=path)


def all_spikes(graph: ir.Model, prepared: Prepared) -> dict[str, Array]:
    """Every spike of the first step or of all, by running the graph with one of them after the other in front."""
    watched = ir.from_proto(ir.to_proto(graph))
    values = [v for node in watched.graph for v in node.outputs if str(v.name).endswith(".spikes")]
    flat = [ir.Node("", "Reshape", [value, minus_one(watched)], name=f"{value.name}.flat") for value in values]
    for node in flat:
        node.outputs[0].name = str(node.name)
        watched.graph.append(node)
    joined = ir.Node("", "Concat", [node.outputs[0] for node in flat], [ir.AttrInt64("axis", 0)], name="all")
    joined.outputs[0].name = "all.flat"
    watched.graph.append(joined)
    watched.graph.outputs.insert(0, joined.outputs[0])
    states = {
        str(value.name): np.zeros(value.shape.numpy(), np.float32)  # type: ignore[union-attr]
        for value in watched.graph.inputs[1:]
    }
    together = run(watched, input=prepared.inputs[:2], **states)
    sizes = np.cumsum([int(np.prod(value.shape.numpy())) for value in values])  # type: ignore[union-attr]
    parts = np.split(together, sizes[:-1])
    return {str(value.name): part for value, part in zip(values, parts, strict=True)}


def minus_one(graph: ir.Model) -> ir.Value:
    if "minus_one" not in graph.graph.initializers:
        array = np.array([-1])
        value = ir.Value(name="minus_one", const_value=ir.tensor(array, name="minus_one"))
        graph.graph.register_initializer(value)
    return graph.graph.initializers["minus_one"]


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
        (
            layer(*(helper.make_node("Add", [f"s{i}", f"s{i}"], [f"s{i + 1}"]) for i in range(0)), value="x"),
            "int8",
            "its input is no whole multiple of a step",
        ),
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
    """Two layers read the same spikes, and one of them a float input."""

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
