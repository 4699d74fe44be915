"""What holds for every backend: the graphs and feeds it takes, and that its results are right and the caller's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.conftest import CPU_BACKENDS, Build, open_on_one_thread
from tks_edge_runtime.artifact import TARGETS
from tks_edge_runtime.backends import BACKENDS, RunTimes, find_device, foreign_target, open_engine
from tks_edge_runtime.errors import ArtifactError, InputError, MissingError

Array = npt.NDArray[Any]
Value = tuple[str, int, Sequence[Any]]

# A matrix product of 64 terms of float32, which each library sums in an order of its own.
RTOL = ATOL = 1e-5


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes a graph given by its nodes, inputs, outputs and constants."""

    def save_graph(nodes: Sequence[Any], inputs: Sequence[Value], outputs: Sequence[Value], **constants: Array) -> Path:
        starts, ends = ([helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs))
        tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        graph = helper.make_graph(nodes, "graph", starts, ends, tensors)
        path = tmp_path / "graph.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
        return path

    return save_graph


@pytest.mark.parametrize(("got", "meant"), [("onnxrutime", "onnxruntime"), ("OpenVino", "openvino")])
def test_an_unknown_backend_is_refused_with_the_closest_name(build: Build, got: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"unknown backend '{got}'. Did you mean '{meant}'\? Allowed: .*{meant}"):
        open_engine(build().path, got)


def test_a_graph_for_another_engine_is_told_from_one_that_fits() -> None:
    assert foreign_target("generic", "openvino") is None
    assert foreign_target("onnxruntime-cpu", "onnxruntime") is None
    assert foreign_target("openvino", "onnxruntime") == (
        "lowered for openvino and run by onnxruntime on cpu, which may be slow at it or compute it differently"
    )
    assert foreign_target("tensorrt", "onnxruntime", "tensorrt") is None
    assert "run by onnxruntime on cuda" in str(foreign_target("onnxruntime-cpu", "onnxruntime", "cuda"))
    for target in set(TARGETS) - {"generic"}:
        assert sum(foreign_target(target, backend) is None for backend in {*BACKENDS, "tensorrt"}) == 1


def test_a_missing_library_names_the_command_that_installs_it(
    build: Build, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(MissingError, match=f"pip install {backend}") as caught:
        open_engine(build().path, backend)
    assert caught.value.exit_code == 3


def test_a_device_is_the_first_of_the_backend_where_none_is_asked_for(backend: str) -> None:
    assert find_device(backend, None) == BACKENDS[backend].devices[0]
    for device in BACKENDS[backend].devices:
        assert find_device(backend, device) == device


def test_an_unknown_device_is_refused_with_those_there_are(build: Build, backend: str) -> None:
    with pytest.raises(InputError, match=rf"unknown device of the backend {backend} 'npu'.*Allowed: .*cpu"):
        open_engine(build().path, backend, device="npu")


def test_cuda_graphs_on_a_cpu_are_refused(build: Build, backend: str) -> None:
    with pytest.raises(InputError, match=f"the backend {backend} has no CUDA graphs on the device cpu"):
        open_engine(build().path, backend, device="cpu", cuda_graph=True)


def test_times_of_runs_add_up_where_both_have_them() -> None:
    assert RunTimes(3, 1, 2) + RunTimes(10, 20, 30) == RunTimes(13, 21, 32)
    assert RunTimes(3, 1, 2) + RunTimes(10) == RunTimes(13)


def test_the_time_of_a_run_on_a_host_is_the_librarys_call(build: Build, backend: str) -> None:
    built = build()
    engine = open_on_one_thread(built.path, backend)
    assert engine.times == RunTimes(0)
    start = perf_counter_ns()
    engine.run({"input": built.inputs[:1]})
    assert 0 < engine.times.compute < perf_counter_ns() - start
    assert engine.times == RunTimes(engine.times.compute)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_below_one_is_refused(build: Build, threads: int, backend: str) -> None:
    with pytest.raises(InputError, match=f"threads is {threads}; allowed are 1 and more"):
        open_engine(build().path, backend, threads=threads)


def test_ports_are_those_of_the_graph(build: Build, backend: str) -> None:
    engine = open_on_one_thread(build(batch=2).path, backend)
    assert [str(port) for port in engine.inputs] == ["input uint8[2, 1, 8, 8]"]
    assert [str(port) for port in engine.outputs] == ["logits float32[2, 4]"]
    engine.close()


def test_an_engine_describes_itself(build: Build, backend: str) -> None:
    description = open_engine(build().path, backend, threads=1, spinning=False).describe()
    assert {"library", "version", "device", "threads", "spinning"} <= set(description)
    assert (description["library"], description["threads"]) == (backend, "1")
    assert description["version"] == BACKENDS[backend].version()
    assert description["device"].startswith("CPU (")


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
def test_feeds_that_do_not_fit_never_reach_the_library(build: Build, feeds: dict[str, Array], backend: str) -> None:
    engine = open_on_one_thread(build().path, backend)
    with pytest.raises(InputError, match=r"the graph takes input uint8\[1, 1, 8, 8\]; got "):
        engine.run(feeds)


def test_inputs_that_are_not_contiguous_are_read_right_and_left_alone(build: Build, backend: str) -> None:
    built = build()
    wide = np.repeat(built.inputs[:1], 2, axis=3)[..., ::2]
    before = wide.copy()
    logits = open_on_one_thread(built.path, backend).run({"input": wide})["logits"]
    np.testing.assert_allclose(logits, built.logits(before), rtol=RTOL, atol=ATOL)
    np.testing.assert_array_equal(wide, before)


def test_a_later_run_leaves_earlier_results_alone(build: Build, backend: str) -> None:
    built = build()
    engine = open_on_one_thread(built.path, backend)
    held = [engine.run({"input": image[None]})["logits"] for image in built.inputs]
    kept = [logits.copy() for logits in held]
    held[0][:] = 0
    engine.run({"input": built.inputs[-1:]})
    engine.close()
    np.testing.assert_array_equal(held[1:], kept[1:])
    np.testing.assert_allclose(np.concatenate(kept), built.logits(built.inputs), rtol=RTOL, atol=ATOL)


def test_engines_of_all_backends_take_turns(build: Build, tmp_path: Path) -> None:
    artifacts = [build(folder=tmp_path / str(timesteps), timesteps=timesteps) for timesteps in (1, 2)]
    engines = [(built, open_engine(built.path, name)) for name in CPU_BACKENDS for built in artifacts]
    for index in range(len(artifacts[0].inputs)):
        for built, engine in engines:
            image = built.inputs[index : index + 1]
            logits = engine.run({"input": image})["logits"]
            np.testing.assert_allclose(logits, built.logits(image), rtol=RTOL, atol=ATOL)
    engines.pop()[1].close()
    for built, engine in engines:
        engine.run({"input": built.inputs[:1]})


def test_an_engine_that_several_threads_call_mixes_nothing_up(build: Build, backend: str) -> None:
    built = build()
    engine = open_on_one_thread(built.path, backend)
    images = [built.inputs[index % len(built.inputs)][None] for index in range(200)]
    with ThreadPoolExecutor(4) as pool:
        logits = list(pool.map(lambda image: engine.run({"input": image})["logits"], images))
    np.testing.assert_allclose(np.concatenate(logits), built.logits(np.concatenate(images)), rtol=RTOL, atol=ATOL)


def test_several_inputs_and_outputs_keep_their_names_and_dtypes(save: Callable[..., Path], backend: str) -> None:
    path = save(
        [
            helper.make_node("Add", ["current", "state.a/b"], ["charged"]),
            helper.make_node("Mean", ["charged"], ["membrane"]),
            helper.make_node("Identity", ["membrane"], ["next.a/b"]),
            helper.make_node("Greater", ["membrane", "threshold"], ["fired"]),
            helper.make_node("Cast", ["fired"], ["spikes"], to=TensorProto.UINT8),
            helper.make_node("ReduceSum", ["membrane"], ["total"], keepdims=0),
        ],
        [("state.a/b", TensorProto.FLOAT, [1, 3]), ("current", TensorProto.FLOAT, [1, 3])],
        [
            ("spikes", TensorProto.UINT8, [1, 3]),
            ("next.a/b", TensorProto.FLOAT, [1, 3]),
            ("membrane", TensorProto.FLOAT, [1, 3]),
            ("fired", TensorProto.BOOL, [1, 3]),
            ("total", TensorProto.FLOAT, []),
        ],
        threshold=np.float32(1),
    )
    engine = open_on_one_thread(path, backend)
    state, current = np.array([[0.5, 1, 0]], np.float32), np.array([[0.5, 1, 4]], np.float32)
    results = engine.run({"current": current, "state.a/b": state})
    expected = {
        "spikes": np.array([[0, 1, 1]], np.uint8),
        "next.a/b": state + current,
        "membrane": state + current,
        "fired": np.array([[False, True, True]]),
        "total": np.float32(7),
    }
    assert [port.name for port in engine.inputs] == ["state.a/b", "current"]
    assert [port.name for port in engine.outputs] == list(results) == list(expected)
    for port in engine.outputs:
        assert (results[port.name].shape, str(results[port.name].dtype)) == (port.shape, port.dtype)
        np.testing.assert_array_equal(results[port.name], expected[port.name])


def test_a_graph_with_a_dynamic_shape_is_refused(save: Callable[..., Path], backend: str) -> None:
    ends = [(name, TensorProto.FLOAT, ["n", 4]) for name in ("input", "logits")]
    path = save([helper.make_node("Relu", ["input"], ["logits"])], ends[:1], ends[1:])
    with pytest.raises(ArtifactError, match="only static tensors"):
        open_engine(path, backend)


def test_a_graph_with_an_operator_that_does_not_exist_is_refused(save: Callable[..., Path], backend: str) -> None:
    ends = [(name, TensorProto.FLOAT, [1]) for name in ("input", "logits")]
    path = save([helper.make_node("Spike", ["input"], ["logits"])], ends[:1], ends[1:])
    with pytest.raises(ArtifactError, match=rf"{backend} cannot load .*graph\.onnx: .*Spike") as caught:
        open_engine(path, backend)
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_file_is_refused_without_a_word_on_standard_error(
    tmp_path: Path, backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"no graph at all")
    with pytest.raises(ArtifactError, match=rf"{backend} cannot load .*damaged\.onnx") as caught:
        open_engine(path, backend)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr().err == ""


def test_a_graph_that_fails_while_it_runs_is_an_artifact_error(save: Callable[..., Path]) -> None:
    path = save(
        [helper.make_node("Gather", ["table", "input"], ["logits"])],
        [("input", TensorProto.INT64, [1])],
        [("logits", TensorProto.FLOAT, [1])],
        table=np.array([1, 2], np.float32),
    )
    engine = open_engine(path, "onnxruntime", threads=1)
    with pytest.raises(ArtifactError, match=r"cannot run .*graph\.onnx"):
        engine.run({"input": np.array([7])})
