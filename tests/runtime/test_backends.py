"""Backends by name, and what the ONNX Runtime engine refuses by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.conftest import Build
from tks_edge_runtime.backends import open_engine
from tks_edge_runtime.errors import ArtifactError, InputError, MissingError


def test_an_unknown_backend_is_refused_with_the_closest_name(build: Build) -> None:
    with pytest.raises(InputError, match=r"unknown backend 'onnxrutime'. Did you mean 'onnxruntime'"):
        open_engine(build().path, "onnxrutime")


def test_a_missing_library_names_the_command_that_installs_it(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match="pip install onnxruntime") as caught:
        open_engine(build().path, "onnxruntime")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_below_one_is_refused(build: Build, threads: int) -> None:
    with pytest.raises(InputError, match=f"threads is {threads}; allowed are 1 and more"):
        open_engine(build().path, "onnxruntime", threads=threads)


def test_ports_are_those_of_the_graph(build: Build) -> None:
    engine = open_engine(build(batch=2).path, "onnxruntime", threads=1)
    assert [str(port) for port in engine.inputs] == ["input uint8[2, 1, 8, 8]"]
    assert [str(port) for port in engine.outputs] == ["logits float32[2, 4]"]
    engine.close()


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"image": np.zeros((1, 1, 8, 8), np.uint8)},
        {"input": np.zeros((1, 8, 8), np.uint8)},
        {"input": np.zeros((1, 1, 8, 8), np.float32)},
        {"input": np.zeros((1, 1, 8, 8), np.uint8), "more": np.zeros(1)},
    ],
)
def test_feeds_that_do_not_fit_never_reach_the_library(build: Build, feeds: dict[str, np.ndarray]) -> None:
    engine = open_engine(build().path, "onnxruntime", threads=1)
    with pytest.raises(InputError, match=r"the graph takes input uint8\[1, 1, 8, 8\]; got "):
        engine.run(feeds)


def test_a_graph_with_a_dynamic_shape_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["input"], ["logits"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("input", "logits")]
    graph = helper.make_graph([node], "dynamic", ends[:1], ends[1:])
    path = tmp_path / "dynamic.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    with pytest.raises(ArtifactError, match="only static tensors"):
        open_engine(path, "onnxruntime")


def test_a_graph_that_fails_while_it_runs_is_an_artifact_error(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["table", "input"], ["logits"])]
    table = helper.make_tensor("table", TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph(
        nodes,
        "out of range",
        [helper.make_tensor_value_info("input", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])],
        [table],
    )
    path = tmp_path / "gather.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    engine = open_engine(path, "onnxruntime", threads=1)
    with pytest.raises(ArtifactError, match=r"cannot run .*gather\.onnx"):
        engine.run({"input": np.array([7])})
