"""Every export is held against a table of what its target runs: what passes, and what each rule says."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from benchmarks.operator_tables import registered
from tests.export.passes.graphs import run
from tks_edge_export import Compiler, ExportError, Options
from tks_edge_export.lint import ENGINES, check, lint
from tks_edge_export.operators import table
from tks_edge_export.options import PRECISIONS
from tks_edge_export.targets import OPSET, TARGETS
from tks_edge_models import create
from tks_edge_runtime.errors import InputError

OPERATOR = "the operator {} (node '') "
"""How a message begins; the nodes of these graphs have no name."""
TRT, ORT, OPENVINO = (table(name).engine for name in ("tensorrt", "onnxruntime-cpu", "openvino"))


LOWERINGS = (
    (1, "static", "fp32"),
    (1, "step", "fp32"),  # the same whatever T
    *((2, "static", precision) for precision in PRECISIONS),
)


@pytest.mark.parametrize(
    ("name", "lowerings"), [("tiny", LOWERINGS), ("sew_resnet18", LOWERINGS[-1:]), ("vggsnn", LOWERINGS[-1:])]
)
def test_every_export_passes_the_lint_of_its_target(name: str, lowerings: tuple[tuple[int, str, str], ...]) -> None:
    network = create(name, num_classes=4, in_channels=2, image_size=16).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 16, 16), dtype=np.uint8)
    compiler = Compiler(network, torch.from_numpy(pixels))
    for (timesteps, form, precision), target in itertools.product(lowerings, TARGETS.values()):
        options = Options(timesteps, target=target.name, form=form, precision=precision)
        model = compiler.compile(options, [pixels]).model
        assert lint(model, target.name) == ()
        check(model, target.name)


def graph(text: str, opsets: str = '"" : 18', ir_version: int = 10) -> ir.Model:
    """A graph in ONNX's own notation."""
    return ir.from_proto(onnx.parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{opsets}]> g {text}"))


def with_microsoft(text: str) -> ir.Model:
    return graph(text, '"" : 18, "com.microsoft" : 1')


EXACT_SPIKES = """(float[1,4] x) => (float[1,4] y) <float s = {{1}}, {0} z = {{0}}> {{
    q = QuantizeLinear(x, s, z)
    y = DequantizeLinear(q, s, z)
}}"""


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        # Everything but its first and last values has no type here: ONNX's inference is asked.
        (graph("(uint8[1,4] x) => (float[1,4] y) {f = Cast<to = 1>(x) g = Relu(f) y = Sqrt(g)}"), "all"),
        (graph("(float[1,2,8,8] x) => (float[1,2,4,4] y) {y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)}"), "all"),
        (graph("(float[1,4,3] x) => (float[4] y) <int64[2] a = {0, 2}> {y = ReduceMean<keepdims=0>(x, a)}"), "all"),
        # ONNX Runtime has no kernel for a convolution in float16, and runs it in float32 between casts.
        (graph("(float16[1,2,8,8] x, float16[4,2,3,3] w) => (float16[1,4,6,6] y) {y = Conv(x, w)}"), "all"),
        (graph(EXACT_SPIKES.format("int8")), "all"),
        (graph(EXACT_SPIKES.format("uint8")), "onnxruntime-cpu openvino"),
        (graph("(float[1,4] x) => (uint8[1,4] y) {y = Cast<to = 2>(x)}"), "all"),
        (
            with_microsoft(
                "(uint8[1,4] x) => (uint8[1,4] y) <float s = {1}, uint8 z = {0}>"
                "{y = com.microsoft.QLinearAdd(x, s, z, x, s, z, s, z)}"
            ),
            "onnxruntime-cpu",
        ),
        (
            with_microsoft(
                "(uint8[1,4] x, float[1,4] w) => (uint8[2,4] y) <float s = {1}, uint8 z = {0}>"
                "{y = com.microsoft.QLinearConcat<axis = 0>(s, z, x, s, z, w, s, z)}"
            ),
            "onnxruntime-cpu",
        ),
    ],
)
def test_a_graph_passes_where_its_operators_run(model: ir.Model, targets: str) -> None:
    passing = [target for target in TARGETS if not lint(model, target)]
    assert passing == (list(TARGETS) if targets == "all" else targets.split())


@pytest.mark.parametrize(
    ("text", "target", "operator", "problem"),
    [
        (
            "(float[1,2,8,8] x, float[4,2,3,3] w) => (float[1,4,6,6] y) {y = Conv(x, w) a = Det(x)}",
            "tensorrt",
            "Det",
            f"is not supported by {TRT}",
        ),
        ("(double[4] x) => (double[4] y) {y = Exp(x)}", "tensorrt", "Exp", f"has float64 at input; {TRT} runs it with"),
        ("(double[4] x) => (double[4] y) {y = Tan(x)}", "onnxruntime-cpu", "Tan", f"float64 at input; {ORT} runs it"),
        (
            "(bfloat16[4] x) => (bfloat16[4] y) {y = Exp(x)}",
            "openvino",
            "Exp",
            f"has bfloat16 at input; {OPENVINO} runs it with float16, float32",
        ),
        (
            "(uint8[4] x) => (uint8[4] y) <int64[1] n = {4}> {y = Reshape(x, n)}",
            "tensorrt",
            "Reshape",
            f"has uint8 at data; {TRT} runs it with bfloat16, bool, float16, float32, int32, int64",
        ),
        (
            "(float[4] x) => (float[4] y) {u = Cast<to = 2>(x) y = Cast<to = 1>(u)}",
            "tensorrt",
            "Cast",
            f"has uint8 at output; {TRT} takes it as input or output of the graph alone",
        ),
        (
            "(float[4] x) => (uint8[4] y) <float s = {1}, uint8 z = {0}> {y = QuantizeLinear(x, s, z)}",
            "tensorrt",
            "QuantizeLinear",
            f"has uint8 at y_zero_point; {TRT} runs it with int8",
        ),
        (
            "(float[4] x) => (int8[4] y) <float s = {1}, int8 z = {3}> {y = QuantizeLinear(x, s, z)}",
            "tensorrt",
            "QuantizeLinear",
            f"has a y_zero_point other than 0; {TRT} runs it with 0 alone",
        ),
        (
            "(int8[4] x, int8 z) => (float[4] y) <float s = {1}> {y = DequantizeLinear(x, s, z)}",
            "tensorrt",
            "DequantizeLinear",
            f"computes its x_zero_point; {TRT} needs a constant",
        ),
        (
            "(float[1,2,8] x) => (float[1,2,4] y) {y = AveragePool<kernel_shape = [2], strides = [2]>(x)}",
            "generic",
            "AveragePool",
            f"has an input of 3 axes; {TRT} runs it with 4 or 5",
        ),
        (
            "(float[1,2,8,8] x) => (float[1,2,6,6] y) {y = MaxPool<kernel_shape = [2,2], dilations = [2,2]>(x)}",
            "generic",
            "MaxPool",
            f"has dilations 2, 2; {TRT} runs it with 1",
        ),
        (
            "(float[1,2,8,8] x) => (float[1,2,7,7] y, int64[1,2,7,7] i) {y, i = MaxPool<kernel_shape = [2,2]>(x)}",
            "generic",
            "MaxPool",
            f"uses its Indices, which {TRT} does not run",
        ),
        (
            "(float[2,3] x, int64[1] a) => (float[2] y) {y = ReduceSum<keepdims = 0>(x, a)}",
            "tensorrt",
            "ReduceSum",
            f"computes its axes; {TRT} needs a constant",
        ),
        (
            "(float[5000] x) => (float[4000] y, int64[4000] i) <int64[1] k = {4000}> {y, i = TopK(x, k)}",
            "tensorrt",
            "TopK",
            f"has a K of 4000; {TRT} runs it below 3840",
        ),
        (
            '(float[1,1,4,4] x) => (float[1,1,8,8] y) <float[4] s = {1,1,2,2}> {y = Resize<mode = "cubic">(x, , s)}',
            "generic",
            "Resize",
            f"has mode cubic; {TRT} runs it with nearest or linear",
        ),
        (
            "(float[1,1,4,4] x) => (float[1,1,8,8] y) <float[2] s = {2,2}> {y = Resize<axes = [2,3]>(x, , s)}",
            "tensorrt",
            "Resize",
            f"sets axes; {TRT} runs it without",
        ),
        ("(float[4] x) => (float[4] y) {y = Gelu(x)}", "tensorrt", "Gelu", "is not in opset 18 of ONNX"),
        (
            "(float16[4] x) => (int8[4] y) <float16 s = {1}, int8 z = {0}> {y = QuantizeLinear(x, s, z)}",
            "onnxruntime-cpu",
            "QuantizeLinear",
            "has float16 at x, where opset 18 of ONNX allows float32, int32",
        ),
        (
            "(float[4] x, float16[4] h) => (float[4] y) {y = Add(x, h)}",
            "generic",
            "Add",
            "has float32 at A and float16 at B, which must be equal",
        ),
        (
            "(float[4] x, bool c) => (float[4] y) {y = If (c) <"
            "then_branch = t () => (float[4] a) {a = Exp(x)}, else_branch = e () => (float[4] b) {b = Neg(x)}>}",
            "generic",
            "If",
            "branches or loops on data; a static graph cannot",
        ),
        (
            "(float[4,4] x) => (int64[2,n] y) {y = NonZero(x)}",
            "tensorrt",
            "NonZero",
            "gives 'y' of type INT64 and shape [2,n]; both must be known and static",
        ),
        (
            "(float[4] x) => (float[4] y) {y = tks_edge.LIF(x)}",
            "generic",
            "tks_edge.LIF",
            "is of the domain 'tks_edge', which the graph does not import",
        ),
    ],
)
def test_what_does_not_run_is_named(text: str, target: str, operator: str, problem: str) -> None:
    model = graph(text)
    assert operator in [finding.operator for finding in lint(model, target)]
    with pytest.raises(ExportError) as error:
        check(model, target)
    assert f"target {target}: {OPERATOR.format(operator)}" in str(error.value)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (graph("(float[4] x) => (float[4] y) {y = Exp(x)}", '"" : 19'), "is of opset 19; convert it to opset 18"),
        (graph("(float[4] x) => (float[4] y) {y = Exp(x)}", ir_version=11), "is of IR version 11; save it with"),
        (graph("(float[n] x) => (float[n] y) {y = Exp(x)}"), "the input 'x' has shape [n]; export with inputs of one"),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_a_graph_that_no_engine_takes(model: ir.Model, problem: str, target: str) -> None:
    with pytest.raises(ExportError) as error:
        check(model, target)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("parameter", "nodes", "problem"),
    [
        (
            "int8[1,4] w",
            "y = com.microsoft.QLinearAdd(x, s, z, w, s, z, s, z)",
            "has uint8 at A and int8 at B, which must",
        ),
        ("float16 w", "y = com.microsoft.QLinearAdd(x, w, z, x, s, z, s, z)", f"has float16 at A_scale; {ORT} runs it"),
        # ONNX cannot tell what operators of another domain give; whoever writes the node has to.
        (
            "float w",
            "q = com.microsoft.QLinearAdd(x, s, z, x, s, z, s, z) y = com.microsoft.QLinearAdd(q, s, z, q, s, z, s, z)",
            "gives 'q' of type None and shape None; both must be known and static",
        ),
    ],
)
def test_operators_of_another_domain_are_held_against_their_signature(parameter: str, nodes: str, problem: str) -> None:
    model = with_microsoft(
        f"(uint8[1,4] x, {parameter}) => (uint8[1,4] y) <float s = {{1}}, uint8 z = {{0}}> {{{nodes}}}"
    )
    (finding,) = lint(model, "onnxruntime-cpu")
    assert finding.operator == "com.microsoft.QLinearAdd"
    assert problem in finding.problem


def test_an_engine_takes_no_operators_of_another() -> None:
    model = with_microsoft("(float[2,3] x, float[3,2] w) => (float[2,2] y) {y = com.microsoft.FusedMatMul(x, w)}")
    assert lint(model, "onnxruntime-cpu") == ()
    for target, engine in (("openvino", OPENVINO), ("tensorrt", TRT)):
        assert [finding.problem for finding in lint(model, target)] == [f"is not supported by {engine}"]
    assert len(lint(model, "generic")) == 2


def test_the_message_says_where_the_graph_does_run_and_what_else_is_in_the_way() -> None:
    text = "(float[1,2,8] x) => (float[1,2,2] y) {{a = {0}(x) y = {0}(a)}}".format(
        "AveragePool<kernel_shape = [2], strides = [2]>"
    )
    with pytest.raises(ExportError) as error:
        check(graph(text), "generic")
    assert "(also: AveragePool x1)" in str(error.value)
    assert str(error.value).endswith(
        "Build the network without it, or export with --target onnxruntime-cpu or openvino."
    )


def test_the_model_is_left_as_it_was() -> None:
    model = graph("(float[4] x) => (float[4] y) {a = Exp(x) y = Neg(a)}")
    lint(model, "generic")
    assert [value.dtype for value in model.graph.node(0).outputs] == [None]


def test_an_unknown_target_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'openvino'"):
        lint(graph("(float[4] x) => (float[4] y) {y = Exp(x)}"), "open-vino")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_names_its_source_and_operators_of_its_opset(engine: str) -> None:
    known = table(engine)
    assert known.engine
    assert known.source
    assert known.opset == OPSET
    for (domain, name), operator in known.operators.items():
        assert operator.kernels
        if domain == "":
            schema = onnx.defs.get_schema(name, OPSET)
            parameters = {parameter.name for parameter in schema.inputs}
            variables = {constraint.type_param_str for constraint in schema.type_constraints}
            assert {*operator.constant, *operator.zero, *operator.below} <= parameters
            assert operator.attributes.keys() <= schema.attributes.keys()
        else:
            variables = {*operator.inputs.values(), *operator.outputs.values()}
        for kernel in operator.kernels:
            assert kernel.keys() <= variables, name


def test_the_installed_onnxruntime_has_every_kernel_of_the_table() -> None:
    installed = registered()
    for key, operator in table("onnxruntime-cpu").operators.items():
        if key not in installed:  # what has no kernel and is made of others
            assert key[1] in table("onnxruntime-cpu").source
            continue
        for kernel in operator.kernels:
            for types in itertools.product(*kernel.values()):
                assert dict(zip(kernel, types, strict=True)) in installed[key], (key, types)


def test_onnxruntime_runs_float16_as_the_table_says() -> None:
    assert table("onnxruntime-cpu").runs_as == {"float16": "float32"}
    model = graph("(float16[1,1,2,2] x, float16[1,1,2,2] w) => (float16[1,1,1,1] y) {y = Conv(x, w)}")
    ones = np.ones((1, 1, 2, 2), np.float16)
    assert run(model, x=ones, w=ones) == np.float16(4)
