"""What the analysis says of sums, products and poolings of spikes holds for every spike there can be."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from tests.export.lowering import Prepared
from tks_edge_export import Compiler, ExportError, Options
from tks_edge_export.grid import SPIKES, Grid, grids
from tks_edge_models import LIF

Array = npt.NDArray[Any]
SHAPE = (2, 2, 4, 4)
"""Of every value that a random graph goes on with."""


class Growing:
    """A graph on two trains of spikes, in float64 so that a value is as near its multiple as it can be."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.values = [self.node("Identity", ["x0"], "a.spikes"), self.node("Identity", ["x1"], "b.spikes")]

    def node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, array: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(array, dtype)
        return name

    def model(self) -> onnx.ModelProto:
        kind = TensorProto.DOUBLE
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info(name, kind, SHAPE) for name in ("x0", "x1")],
            [helper.make_empty_tensor_value_info(name) for node in self.nodes for name in node.output],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)

    def results(self, *spikes: Array) -> dict[str, Array]:
        names = [str(name) for node in self.nodes for name in node.output]
        feeds = {f"x{index}": train.astype(np.float64) for index, train in enumerate(spikes)}
        return dict(zip(names, ReferenceEvaluator(self.model()).run(names, feeds), strict=True))

    def grids(self) -> dict[str, Grid]:
        return {str(value.name): grid for value, grid in grids(ir.from_proto(self.model()).graph).items()}


def pooled(growing: Growing, value: str, size: int, *, counted: int = 1) -> str:
    before = (size - 1) // 2
    pads = [before, before, size - 1 - before, size - 1 - before]
    return growing.node("AveragePool", [value], kernel_shape=[size] * 2, pads=pads, count_include_pad=counted)


def halves(growing: Growing, value: str, other: str) -> str:
    """Join two values along the channels, and take the middle ones."""
    joined = growing.node("Concat", [value, other], axis=1)
    bounds = [growing.constant([number]) for number in (1, 3, 1)]
    return growing.node("Slice", [joined, *bounds])


def averaged(growing: Growing, value: str) -> str:
    mean = growing.node("ReduceMean", [value, growing.constant([2, 3])], keepdims=1)
    return growing.node("Expand", [mean, growing.constant(SHAPE)])


def summed(growing: Growing, value: str) -> str:
    total = growing.node("ReduceSum", [value, growing.constant([1])], keepdims=1)
    return growing.node("Expand", [total, growing.constant(SHAPE)])


Step = Callable[[Growing, str, str, float], str]
STEPS: dict[str, Step] = {
    "sum": lambda g, a, b, _: g.node("Add", [a, b]),
    "difference": lambda g, a, b, _: g.node("Sub", [a, b]),
    "product": lambda g, a, b, _: g.node("Mul", [a, b]),
    "shift": lambda g, a, _, c: g.node("Add", [a, g.constant(c, np.float64)]),
    "scale": lambda g, a, _, c: g.node("Mul", [g.constant(c, np.float64), a]),
    "matrix product": lambda g, a, b, _: g.node("MatMul", [a, b]),
    "rectifier": lambda g, a, _, __: g.node("Relu", [a]),
    "largest": lambda g, a, _, __: g.node("MaxPool", [a], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "padded mean of 4": lambda g, a, _, __: pooled(g, a, 2),
    "padded mean of 9": lambda g, a, _, __: pooled(g, a, 3),
    "mean of a plane": lambda g, a, _, __: averaged(g, a),
    "sum of channels": lambda g, a, _, __: summed(g, a),
    "join": lambda g, a, b, _: halves(g, a, b),
    "transpose": lambda g, a, _, __: g.node("Transpose", [a], perm=[0, 1, 3, 2]),
    "reshape": lambda g, a, _, __: g.node("Reshape", [g.node("Flatten", [a]), g.constant(SHAPE)]),
}


@st.composite
def graphs(draw: st.DrawFn) -> Growing:
    growing = Growing()
    for _ in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(sorted(STEPS)))
        a, b = (draw(st.sampled_from(growing.values)) for _ in range(2))
        growing.values.append(STEPS[name](growing, a, b, draw(st.sampled_from((-2.0, -0.5, 0.25, 1.0, 4.0)))))
    return growing


@settings(deadline=None, max_examples=120)
@given(growing=graphs(), rate=st.sampled_from((0.0, 0.3, 1.0)), seed=st.integers(0, 2**31))
def test_every_value_is_a_whole_multiple_within_the_bounds(growing: Growing, rate: float, seed: int) -> None:
    trains = (np.random.default_rng(seed).random((2, *SHAPE)) < rate).astype(np.float64)
    known = growing.grids()
    for name, values in growing.results(*trains).items():
        grid = known[name]  # none of these operators loses it
        multiples = values / float(grid.step)
        np.testing.assert_allclose(multiples, np.rint(multiples), rtol=1e-9, atol=1e-6, err_msg=name)
        assert grid.low <= np.rint(multiples).min(), name
        assert np.rint(multiples).max() <= grid.high, name


def test_padding_brings_zeros_into_a_mean() -> None:
    growing = Growing()
    raised = STEPS["shift"](growing, "a.spikes", "", 4.0)
    mean = STEPS["padded mean of 9"](growing, raised, "", 0.0)
    lowered = STEPS["scale"](growing, mean, "", -2.0)
    assert growing.grids()[mean] == Grid(Fraction(1, 9), 0, 45)
    assert growing.grids()[lowered] == Grid(Fraction(2, 9), -45, 0)


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("sum", Grid(Fraction(1), 0, 2)),
        ("difference", Grid(Fraction(1), -1, 1)),
        ("product", Grid(Fraction(1), 0, 1)),
        ("scale", Grid(Fraction(1, 2), -1, 0)),
        ("matrix product", Grid(Fraction(1), 0, 4)),
        ("largest", SPIKES),
        ("padded mean of 9", Grid(Fraction(1, 9), 0, 9)),
        ("mean of a plane", Grid(Fraction(1, 16), 0, 16)),
        ("sum of channels", Grid(Fraction(1), 0, 2)),
        ("join", SPIKES),
    ],
)
def test_the_bounds_are_reached(name: str, grid: Grid) -> None:
    growing = Growing()
    last = STEPS[name](growing, "a.spikes", "b.spikes", -0.5)
    assert growing.grids()[last] == grid
    trains = [np.full(SHAPE, number) for number in (0.0, 1.0)]
    seen = [growing.results(a, b)[last] / float(grid.step) for a in trains for b in trains]
    assert (round(min(map(np.min, seen))), round(max(map(np.max, seen)))) == (grid.low, grid.high)


@pytest.mark.parametrize(
    "make",
    [
        lambda g: g.node("Mul", ["a.spikes", g.constant(0.3, np.float64)]),
        lambda g: g.node("Add", ["a.spikes", g.constant(np.ones(4), np.float64)]),
        lambda g: g.node("Exp", ["a.spikes"]),
        lambda g: g.node("Add", ["a.spikes", g.node("Exp", ["b.spikes"])]),
        lambda g: pooled(g, "a.spikes", 3, counted=0),
        lambda g: g.node("AveragePool", ["a.spikes"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        lambda g: g.node("Concat", ["a.spikes", g.node("Exp", ["b.spikes"])], axis=1),
    ],
    ids=["any factor", "a vector", "no rule", "half known", "uneven windows", "cut windows", "half known, joined"],
)
def test_of_anything_else_nothing_is_claimed(make: Callable[[Growing], str]) -> None:
    growing = Growing()
    assert make(growing) not in growing.grids()


class Between(nn.Module):
    """A float layer, spikes, what is made of them, an int8 layer, and one that reads plain spikes."""

    def __init__(self, made: Callable[[Tensor], Tensor], features: int, kernel: nn.Module) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 2, 3, padding=1), LIF()
        self.middle, self.second = kernel, LIF()
        self.last, self.third = nn.Linear(features, 4), LIF()
        self.head, self._made = nn.Linear(4, 3), made

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(self.stem(x.float() / 64))
        spikes = self.second(self.middle(self._made(spikes))).flatten(1)
        logits: Tensor = self.head(self.third(self.last(spikes)))
        return logits


def doubled(times: int) -> Callable[[Tensor], Tensor]:
    def made(x: Tensor) -> Tensor:
        for _ in range(times):
            x = x + x
        return x

    return made


def prepared(made: Callable[[Tensor], Tensor], features: int, kernel: nn.Module, size: int) -> Prepared:
    torch.manual_seed(3)
    module = Between(made, features, kernel).eval()
    inputs = torch.randint(0, 256, (4, 1, size, size), dtype=torch.uint8)
    return Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())


@pytest.mark.parametrize(
    ("made", "size", "features", "message"),
    [
        (doubled(8), 4, 32, "the input of middle can be 0 to 256 times 1"),
        (nn.AvgPool2d(16), 16, 2, "the input of middle can be 0 to 256 times 1/256"),
    ],
    ids=["many joins", "a large pooling"],
)
def test_an_overflow_is_refused_and_the_layer_may_stay_in_float(
    made: Callable[[Tensor], Tensor], size: int, features: int, message: str, tmp_path: Path
) -> None:
    network = prepared(made, features, nn.Conv2d(2, 2, 1), size)
    for target, limits in (("generic", "int8 holds -128 to 127"), ("openvino", "uint8 holds 0 to 255")):
        with pytest.raises(ExportError) as error:
            network.compiler.compile(Options(2, precision="int8", target=target))
        assert str(error.value) == f"{message}; {limits}. Leave the layer in float: --keep-float middle"
        kept = network.lower(Options(2, precision="int8", target=target, keep_float=("middle",)), tmp_path)
        assert kept.compared(network.inputs).problem() is None
        assert kept.compiled.kept_float == ("middle",)


@pytest.mark.parametrize(("target", "fits"), [("generic", False), ("tensorrt", False), ("openvino", True)])
def test_unsigned_integers_hold_twice_as_much(target: str, fits: bool, tmp_path: Path) -> None:
    network = prepared(nn.AvgPool2d(12), 2, nn.Conv2d(2, 2, 1), 12)
    options = Options(1, precision="int8", target=target)
    if not fits:
        with pytest.raises(ExportError, match="can be 0 to 144 times 1/144; int8 holds -128 to 127"):
            network.compiler.compile(options)
        return
    assert network.lower(options, tmp_path).compared(network.inputs).problem() is None


@pytest.mark.parametrize("target", ["generic", "openvino"])
def test_a_mean_of_nine_is_handed_over_as_whole_ninths(target: str, tmp_path: Path) -> None:
    network = prepared(nn.AvgPool2d(3, stride=1), 32, nn.Conv2d(2, 2, 3, bias=True), 8)
    lowered = network.lower(Options(2, precision="int8", target=target, keep_float=("last",)), tmp_path)
    comparison = lowered.compared(network.inputs)
    assert comparison.problem() is None
    assert lowered.compiled.reference.exact == frozenset()  # a ninth is no float
    model = ir.from_proto(ir.to_proto(lowered.compiled.model))
    (quantize,) = (node for node in model.graph if node.op_type == "QuantizeLinear")
    spikes = next(v for node in model.graph for v in node.outputs if v.name == "first.spikes")
    model.graph.outputs.extend([quantize.outputs[0], spikes])
    watched = tmp_path / "watched.onnx"
    ir.save(model, watched)
    found = type(lowered)(lowered.compiled, lowered.options, watched).run("onnxruntime", network.inputs[:2])
    windows = np.lib.stride_tricks.sliding_window_view(found["first.spikes"], (3, 3), axis=(2, 3))
    codes = found[str(quantize.outputs[0].name)]
    assert codes.dtype == np.dtype("int8" if target == "generic" else "uint8")
    np.testing.assert_array_equal(codes, windows.sum(axis=(4, 5)))
    assert codes.max() > 1
