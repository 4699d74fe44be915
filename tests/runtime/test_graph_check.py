"""Graphs that no library may see: each is refused by name, and what is exported is not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from tests.runtime.conftest import CPU_BACKENDS, Build, BuildSpiking
from tks_edge_runtime.artifact import STATIC, STEP
from tks_edge_runtime.errors import ArtifactError, MissingError
from tks_edge_runtime.graph_check import check_graph, least_memory
from tks_edge_runtime.onnx_graph import read_graph
from tks_edge_runtime.session import load

Change = Callable[[ModelProto], None]


def changed(path: Path, change: Change) -> Path:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("form", [STATIC, STEP])
def test_a_whole_graph_gives_the_shape_of_every_tensor(build_spiking: BuildSpiking, form: str) -> None:
    path = build_spiking(form=form).path
    graph = onnx.load(path).graph
    shapes = check_graph(path)
    assert shapes["input"] == (1, 1, 8, 8)
    assert shapes["logits"] == (1, 4)
    for tensor in graph.initializer:
        assert shapes[tensor.name] == tuple(tensor.dims)
    assert {name for node in graph.node for name in node.output} <= shapes.keys()


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def external_in_a_node(model: ModelProto) -> None:
    value = numpy_helper.from_array(np.zeros(3, np.float32))
    external_of = helper.make_node("Constant", [], ["outside"], value=value)
    external_of.attribute[0].t.external_data.add(key="location", value="../secret")
    model.graph.node.insert(0, external_of)


def branch(model: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.insert(0, helper.make_node("If", ["scale"], [], then_branch=body, else_branch=body))


def function(model: ModelProto) -> None:
    model.functions.append(helper.make_function("own", "F", [], [], [], []))


def foreign_operator(model: ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def foreign_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("own", 1))


def cycle(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "logits"


def written_twice(model: ModelProto) -> None:
    model.graph.node[1].output[0] = "pixels"


def two_of_a_name(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def negative(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -64


def too_few_bytes(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def no_data(model: ModelProto) -> None:
    model.graph.initializer[0].ClearField("raw_data")


def texts(model: ModelProto) -> None:
    model.graph.initializer.append(
        TensorProto(name="texts", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    )


def sparse(model: ModelProto) -> None:
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))


def unknown_shape(model: ModelProto) -> None:
    for info in model.graph.value_info:
        if info.name == "scaled":
            info.type.tensor_type.shape.dim[0].dim_param = "N"


def no_shape(model: ModelProto) -> None:
    (info,) = (info for info in model.graph.value_info if info.name == "scaled")
    model.graph.value_info.remove(info)


def shape_from_the_image(model: ModelProto) -> None:
    model.graph.node[2].CopyFrom(helper.make_node("Reshape", ["scaled", "pixels"], ["flat"]))


def shape_from_the_content(model: ModelProto) -> None:
    model.graph.node[2].CopyFrom(helper.make_node("NonZero", ["scaled"], ["flat"]))


def no_output(model: ModelProto) -> None:
    del model.graph.node[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external, "its weights lie in another file; an artifact is one file, and no other is ever read"),
        (external_in_a_node, "its weights lie in another file"),
        (branch, "it has a branch or a loop; an artifact's graph is static"),
        (function, "it holds functions or training steps"),
        (foreign_operator, "operators of the domain 'com.microsoft'"),
        (foreign_domain, "operators of the domain 'own'"),
        (cycle, "the node 'Cast' reads 'logits', which nothing before it gives"),
        (written_twice, "the node 'Div' writes 'pixels', which is there already"),
        (two_of_a_name, "the tensor 'weights' is there twice"),
        (negative, r"a tensor has the shape \[-64, 4\]"),
        (too_few_bytes, r"a tensor \[1099511627776, 4\] comes with 1024 bytes"),
        (no_data, r"a tensor \[64, 4\] comes with 0 bytes"),
        (texts, "a tensor of texts"),
        (sparse, "sparse tensors"),
        (unknown_shape, "'scaled' has no static shape; only static tensors can be run"),
        (no_shape, "the node 'Div' writes 'scaled', whose shape the file does not state"),
        (shape_from_the_image, "the node 'Reshape' takes a shape from 'pixels', which is no constant"),
        (shape_from_the_content, "the node 'NonZero' gives a tensor whose shape depends on what it is given"),
        (no_output, "nothing gives the output 'logits'"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_no_exported_graph_is_is_refused_by_name(build: Build, change: Change, message: str) -> None:
    path = changed(build().path, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        check_graph(path)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ArtifactError, match=message):
        load(path)


def tiled(path: Path, factor: int, *, stated: int) -> None:
    """Make the logits depend on themselves, repeated `factor` times, where the file states `stated` of them."""

    def change(model: ModelProto) -> None:
        graph = model.graph
        graph.node[-1].output[0] = "few"
        graph.initializer.append(numpy_helper.from_array(np.array([1, factor]), "times"))
        graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
        graph.node.append(helper.make_node("Tile", ["few", "times"], ["many"]))
        graph.node.append(helper.make_node("ReduceMin", ["many", "axis"], ["least"], keepdims=1))
        graph.node.append(helper.make_node("Add", ["few", "least"], ["logits"]))
        for name, size in (("few", 4), ("many", 4 * stated), ("least", 1)):
            graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]))

    changed(path, change)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_graph_that_needs_more_memory_than_there_is_is_missing_it(build: Build, backend: str) -> None:
    path = build().path
    tiled(path, 1 << 40, stated=1 << 40)
    with pytest.raises(MissingError, match=r"needs at least 17592\.2 GB of memory; .* can be had here") as caught:
        load(path, backend)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_file_that_states_other_shapes_than_it_has_is_refused(build: Build, backend: str) -> None:
    path = build().path
    tiled(path, 1 << 40, stated=1)
    with pytest.raises(ArtifactError, match=r"many|differ"):
        load(path, backend)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_graph_for_which_there_is_room_runs(build: Build, backend: str) -> None:
    built = build()
    tiled(built.path, 1 << 10, stated=1 << 10)
    expected = built.logits(built.inputs[:1])
    with load(built.path, backend, threads=1) as session:
        np.testing.assert_allclose(session.run(built.inputs[:1]), expected + expected.min(), rtol=1e-5)


def test_the_least_memory_is_what_is_held_at_one_time(tmp_path: Path) -> None:
    """A chain of 4 kB tensors holds two at a time; their sum at the end holds all."""
    path, shape = tmp_path / "chain.onnx", [1000]

    def chain(last: list[str]) -> int:
        nodes = [helper.make_node("Neg", [f"x{i}"], [f"x{i + 1}"]) for i in range(5)]
        given, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", "y"))
        graph = helper.make_graph([*nodes, helper.make_node("Sum", last, ["y"])], "chain", [given], [result])
        model = shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
        path.write_bytes(model.SerializeToString())
        found = read_graph(path)
        return least_memory(found, {**found.values, **found.inputs, **found.outputs})

    assert chain(["x5"]) == 4000 * (1 + 2)  # the input stays
    assert chain([f"x{i}" for i in range(6)]) == 4000 * 7


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_an_artifact_error_or_harmless(build: Build, data: st.DataObject) -> None:
    path = build().path
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(ArtifactError, MissingError):
        assert check_graph(path, 1 << 30)["logits"]
