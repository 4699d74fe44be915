"""The cost of a graph against numbers worked out by hand, and how it grows with T."""

from __future__ import annotations

import math

import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tks_edge_export import Compiler, ExportError, Options
from tks_edge_export.cost import Cost, cost
from tks_edge_models import create


def graph(text: str) -> ir.Model:
    """A graph in ONNX's own notation, its shapes inferred."""
    opsets = '["" : 18, "com.microsoft" : 1]'
    model = onnx.parser.parse_model(f"<ir_version: 10, opset_import: {opsets}> g {text}")
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        # 5 x 5 outputs of 4 channels, each over 3 channels and 2 x 2 weights.
        ("(float[2,3,6,6] x, float[4,3,2,2] w) => (float[2,4,5,5] y) {y = Conv(x, w)}", 2 * 4 * 25 * 3 * 4),
        ("(float[1,4,8] x, float[6,2,3] w) => (float[1,6,6] y) {y = Conv<group = 2>(x, w)}", 6 * 6 * 2 * 3),
        ("(float[1,4,8,8] x, float[4,1,3,3] w) => (float[1,4,6,6] y) {y = Conv<group = 4>(x, w)}", 4 * 36 * 9),
        # Every input element meets 3 channels and 2 x 2 weights.
        ("(float[1,4,5,5] x, float[4,3,2,2] w) => (float[1,3,6,6] y) {y = ConvTranspose(x, w)}", 4 * 25 * 3 * 4),
        ("(float[7,3] x, float[3,5] w) => (float[7,5] y) {y = Gemm(x, w)}", 7 * 3 * 5),
        ("(float[3,7] x, float[5,3] w) => (float[7,5] y) {y = Gemm<transA = 1, transB = 1>(x, w)}", 7 * 3 * 5),
        ("(float[2,7,3] x, float[2,3,5] w) => (float[2,7,5] y) {y = MatMul(x, w)}", 2 * 7 * 3 * 5),
        ("(uint8[7,3] x, int8[3,5] w) => (int32[7,5] y) {y = MatMulInteger(x, w)}", 7 * 3 * 5),
        ("(uint8[1,3,6,6] x, uint8[4,3,2,2] w) => (int32[1,4,5,5] y) {y = ConvInteger(x, w)}", 4 * 25 * 3 * 4),
        (
            "(uint8[1,3,6,6] x, int8[4,3,2,2] w, float s, uint8 z, int8 v) => (uint8[1,4,5,5] y)"
            "{y = QLinearConv(x, s, z, w, s, v, s, z)}",
            4 * 25 * 3 * 4,
        ),
        (
            "(uint8[7,3] x, int8[3,5] w, float s) => (float[7,5] y)"
            "{y = com.microsoft.MatMulIntegerToFloat(x, w, s, s)}",
            7 * 3 * 5,
        ),
        ("(float[2,3] x) => (float[2,3] y) {a = Add(x, x) y = Mul(a, a)}", 0),
    ],
)
def test_multiply_accumulates(text: str, macs: int) -> None:
    assert cost(graph(text)).macs == macs


def test_bytes_nodes_and_parameters() -> None:
    text = """(uint8[1,8] x) => (float[1,2] y)
        <float[2,8] w = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}, float half = {0.5}, int64[2] n = {1,8}> {
        f = Cast<to = 1>(x)
        r = Reshape(f, n)
        h = Mul(r, half)
        y = Gemm<transB = 1>(h, w)
    }"""
    assert cost(graph(text)) == Cost(
        nodes=4,
        operators={"Cast": 1, "Reshape": 1, "Mul": 1, "Gemm": 1},
        parameters=16,
        macs=16,
        weight_bytes=16 * 4 + 4 + 2 * 8,
        activation_bytes=3 * 8 * 4 + 2 * 4,
        peak_activation_bytes=2 * 8 * 4,
    )


def test_a_weight_that_is_only_decoded_is_no_activation() -> None:
    text = """(float[1,2] x) => (float[1,2] y) <int8[2,2] w = {1,2,3,4}, float s = {0.5}, int8 z = {0}> {
        d = DequantizeLinear(w, s, z)
        y = MatMul(x, d)
    }"""
    counted = cost(graph(text))
    assert (counted.macs, counted.parameters, counted.weight_bytes, counted.activation_bytes) == (4, 4, 9, 8)


def test_memory_is_counted_until_the_last_use() -> None:
    # While c is made of b, x and a wait for the sums.
    text = "(float[4] x) => (float[4] y) {a = Exp(x) b = Neg(a) c = Neg(b) d = Add(a, c) y = Add(d, x)}"
    assert cost(graph(text)).peak_activation_bytes == 4 * 16


def test_a_graph_without_static_shapes_is_refused() -> None:
    with pytest.raises(ExportError, match="'x' has no static shape"):
        cost(graph("(float[n] x) => (float[n] y) {y = Exp(x)}"))
    with pytest.raises(ExportError, match="element type of 'q' is not known"):
        cost(graph("(float[2] x) => (float[2] y) {q = com.microsoft.Unknown(x) y = Exp(q)}"))


RESNET18_STEM = 3 * 64 * 9 * 32 * 32
RESNET18_BODY = (
    4 * 64 * 64 * 9 * 32 * 32
    + (64 * 128 * 9 + 3 * 128 * 128 * 9 + 64 * 128) * 16 * 16
    + (128 * 256 * 9 + 3 * 256 * 256 * 9 + 128 * 256) * 8 * 8
    + (256 * 512 * 9 + 3 * 512 * 512 * 9 + 256 * 512) * 4 * 4
)
CLASSIFIER = 512 * 10


@pytest.fixture(scope="module")
def resnet18() -> dict[int, Cost]:
    network = create("sew_resnet18", num_classes=10, image_size=32).eval()
    compiler = Compiler(network, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    return {t: cost(compiler.compile(Options(t)).model) for t in (1, 2, 4, 8)}


def test_a_resnet18_for_images_of_32_pixels_takes_0_56_gmac_a_step(resnet18: dict[int, Cost]) -> None:
    assert resnet18[1].macs == RESNET18_STEM + RESNET18_BODY + CLASSIFIER
    assert resnet18[1].macs == pytest.approx(0.56e9, rel=0.01)  # as it is usually quoted, to two digits


def test_what_lies_behind_the_first_neuron_grows_with_t_and_the_weights_do_not(resnet18: dict[int, Cost]) -> None:
    once = RESNET18_STEM
    for t, counted in resnet18.items():
        # The readout's mean may be taken before the classifier, which then runs once.
        assert counted.macs - once - t * RESNET18_BODY in (CLASSIFIER, t * CLASSIFIER)
        assert counted.parameters == resnet18[1].parameters
        # Split sizes and scalars such as the decay.
        assert counted.weight_bytes - resnet18[1].weight_bytes < 1024
    for fewer, more in ((1, 2), (2, 4), (4, 8)):
        assert resnet18[fewer].nodes < resnet18[more].nodes
        assert resnet18[fewer].activation_bytes < resnet18[more].activation_bytes
        assert resnet18[fewer].peak_activation_bytes < resnet18[more].peak_activation_bytes


def test_the_relu_twin_multiplies_as_often_as_one_timestep(resnet18: dict[int, Cost]) -> None:
    twin = create("sew_resnet18", num_classes=10, image_size=32, neuron="relu").eval()
    compiled = Compiler(twin, torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).compile(Options(1))
    assert cost(compiled.model).macs == resnet18[1].macs


@settings(deadline=None)
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    stride=st.integers(1, 2),
)
def test_a_convolution_counts_every_product_that_it_takes(
    batch: int, groups: int, channels: tuple[int, int], kernel: list[int], stride: int
) -> None:
    inputs, outputs = groups * channels[0], groups * channels[1]
    sizes = [5] * len(kernel)
    made = [(size - k) // stride + 1 for size, k in zip(sizes, kernel, strict=True)]

    def dims(*numbers: int) -> str:
        return ",".join(map(str, numbers))

    counted = cost(
        graph(
            f"(float[{dims(batch, inputs, *sizes)}] x, float[{dims(outputs, channels[0], *kernel)}] w) => "
            f"(float[{dims(batch, outputs, *made)}] y) "
            f"{{y = Conv<group = {groups}, strides = [{dims(*[stride] * len(kernel))}]>(x, w)}}"
        )
    )
    assert counted.macs == batch * outputs * math.prod(made) * channels[0] * math.prod(kernel)
