"""TensorRT's run loop, on FakeTensorRT: what holds for every backend, and what a GPU needs besides.

None of this ran on a GPU. What the fakes insist on is in tests/runtime/test_fake_gpu.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.runtime import test_backends as every_backend
from tests.runtime import test_steppers as every_stepper
from tests.runtime.conftest import Build, BuildSpiking
from tests.runtime.fake_cuda import FakeError
from tests.runtime.fake_gpu import FakeGpu
from tests.runtime.recorded import record
from tks_edge_runtime import machine
from tks_edge_runtime.artifact import FRAMES, STATIC, STEP
from tks_edge_runtime.backends import Recurrence, RunTimes, find_backend, open_engine, tensorrt_library
from tks_edge_runtime.errors import InputError, MissingError, TksEdgeError
from tks_edge_runtime.exit_measures import ExitRule
from tks_edge_runtime.session import load

save = every_backend.save

# The tests of every backend, with the backend that is named below.
test_several_threads = every_backend.test_an_engine_that_several_threads_call_mixes_nothing_up
test_ports = every_backend.test_ports_are_those_of_the_graph
test_feeds = every_backend.test_feeds_that_do_not_fit_never_reach_the_library
test_not_contiguous = every_backend.test_inputs_that_are_not_contiguous_are_read_right_and_left_alone
test_later_runs = every_backend.test_a_later_run_leaves_earlier_results_alone
test_several_ports = every_backend.test_several_inputs_and_outputs_keep_their_names_and_dtypes
test_unknown_operator = every_backend.test_a_graph_with_an_operator_that_does_not_exist_is_refused
test_state_dtypes = every_stepper.test_a_state_is_carried_on_in_its_own_dtype
test_state_zeros = every_stepper.test_a_state_starts_with_what_stands_for_zero_in_it
test_several_steppers = every_stepper.test_steppers_of_one_engine_are_apart_from_each_other_and_from_its_runs
test_what_stays = every_stepper.test_what_was_fed_stays_and_is_a_copy
test_own_results = every_stepper.test_results_are_the_callers_own
test_moving_states = every_stepper.test_states_that_only_move_are_not_mixed_up
test_old_states = every_stepper.test_a_state_is_still_the_old_one_after_the_new_one_was_computed
test_rows = every_stepper.test_rows_start_again_one_by_one
test_rows_of_several = every_stepper.test_rows_of_several_states_start_again_in_each_of_them
test_rows_apart = every_stepper.test_restarting_rows_leaves_other_steppers_alone
test_step_feeds = every_stepper.test_feeds_that_do_not_fit_are_refused


@pytest.fixture
def backend(gpu: FakeGpu) -> str:
    return "tensorrt"


@pytest.fixture(params=[False, True], ids=["launched", "recorded"])
def cuda_graph(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize(("form", "encoding"), [(STATIC, "direct"), (STEP, "direct"), (STEP, FRAMES)])
def test_logits_are_those_of_onnxruntime(
    gpu: FakeGpu, build_spiking: BuildSpiking, form: str, encoding: str, cuda_graph: bool
) -> None:
    built = build_spiking(form=form, encoding=encoding, batch=2)
    with load(built.path, "tensorrt", cuda_graph=cuda_graph) as one, load(built.path, "onnxruntime") as other:
        assert one.device == "cuda"
        assert one.self_test().passed
        assert one.evaluate() == other.evaluate()
        np.testing.assert_array_equal(one.run(built.inputs), other.run(built.inputs))
        np.testing.assert_array_equal(one.run(built.inputs[:3]), other.run(built.inputs[:3]))
        assert one.describe()["cuda_graph"] == ("on" if cuda_graph else "off")
    assert gpu.trt.builds == 1


def test_streams_keep_their_states_on_the_device_and_do_not_disturb_each_other(
    gpu: FakeGpu, build_spiking: BuildSpiking, cuda_graph: bool
) -> None:
    built = build_spiking()
    session = load(built.path, "tensorrt", cuda_graph=cuda_graph)
    reference = load(built.path, "onnxruntime")
    pairs = [(session.stream(), reference.stream()) for _ in range(2)]
    session.close()
    for image in built.inputs[:6]:
        for (one, other), frame in zip(pairs, (image[None], image[None, :, ::-1].copy()), strict=True):
            np.testing.assert_array_equal(one.step(frame), other.step(frame))
            np.testing.assert_array_equal(one.step(), other.step())
    pairs[0][0].reset()
    pairs[0][1].reset()
    np.testing.assert_array_equal(pairs[0][0].step(built.inputs[:1]), pairs[0][1].step(built.inputs[:1]))
    for one, other in pairs:
        one.close()
        other.close()


def test_recorded_launches_are_replayed(gpu: FakeGpu, build: Build) -> None:
    built = build()
    with load(built.path, "tensorrt", cuda_graph=True) as session:
        gpu.cuda.calls.clear()
        for image in built.inputs:
            session.run_batch(image[None])
        assert gpu.cuda.calls.count("cudaGraphLaunch") == len(built.inputs)
    built = build(name="again")
    with load(built.path, "tensorrt") as session:
        gpu.cuda.calls.clear()
        session.run_batch(built.inputs[:1])
        assert "cudaGraphLaunch" not in gpu.cuda.calls


def test_nothing_is_allocated_while_it_runs(gpu: FakeGpu, build_spiking: BuildSpiking, cuda_graph: bool) -> None:
    built = build_spiking()
    with load(built.path, "tensorrt", cuda_graph=cuda_graph) as session:
        session.run_batch(built.inputs[:1])
        gpu.cuda.calls.clear()
        session.run_batch(built.inputs[:1])
        assert not {name for name in gpu.cuda.calls if "alloc" in name.lower() or "Create" in name}
        # A still image goes to the device once, whatever T.
        assert gpu.cuda.calls.count("cudaMemcpyAsync") == 1 + session.timesteps


def test_times_are_the_devices_own(gpu: FakeGpu, build_spiking: BuildSpiking) -> None:
    built = build_spiking(form=STATIC)
    with load(built.path, "tensorrt") as session:
        assert session.times == RunTimes(0)
        session.run_batch(built.inputs[:1])
        times = session.times
        # The fake's clock moves by 1000 ns with each piece of work; an event's own is one.
        assert times.compute == 2000
        assert times.copies == 4000
        assert times.enqueue is not None
        assert times.enqueue > 0


def test_a_gpu_without_room_is_told_and_nothing_stays(gpu: FakeGpu, build: Build) -> None:
    path = build().path
    load(path, "tensorrt").close()
    gpu.cuda.memory = 50
    with pytest.raises(MissingError, match=r"not enough memory left \(cudaMalloc: cudaErrorMemoryAllocation\)"):
        load(path, "tensorrt")
    assert gpu.left() == []


def test_an_error_of_the_device_names_the_call(gpu: FakeGpu, build: Build) -> None:
    built = build()
    session = load(built.path, "tensorrt")
    gpu.cuda.error = FakeError.cudaErrorIllegalAddress
    with pytest.raises(TksEdgeError, match=r"CUDA failed in cudaEventRecord: cudaErrorIllegalAddress \(text of"):
        session.run_batch(built.inputs[:1])
    gpu.cuda.error = FakeError.cudaSuccess
    session.close()


def test_a_closed_engine_does_not_run(gpu: FakeGpu, build: Build) -> None:
    built = build()
    engine = open_engine(built.path, "tensorrt")
    engine.close()
    with pytest.raises(AttributeError):
        engine.run({"input": built.inputs[:1]})


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("encoding", ["direct", FRAMES])
def test_early_exit_gives_what_onnxruntime_gives(
    gpu: FakeGpu, build_spiking: BuildSpiking, batch: int, encoding: str, cuda_graph: bool
) -> None:
    built = build_spiking(batch=batch, encoding=encoding)
    rule = ExitRule("confidence", 0.5)
    with (
        load(built.path, "tensorrt", cuda_graph=cuda_graph) as one,
        load(built.path, "onnxruntime") as other,
        one.anytime(rule) as anytime,
        other.anytime(rule) as reference,
    ):
        gpu.cuda.calls.clear()
        answers, expected = anytime.run(built.inputs), reference.run(built.inputs)
        np.testing.assert_array_equal(answers.logits, expected.logits)
        np.testing.assert_array_equal(answers.steps, expected.steps)
        assert len(set(expected.steps.tolist())) > 1
        assert not {"cudaMalloc", "cudaMallocHost"} & set(gpu.cuda.calls)


def test_a_stepper_outlives_its_engine(gpu: FakeGpu, save: Any) -> None:
    ports = [(name, TensorProto.FLOAT, [2]) for name in ("sum", "x", "sum.out", "seen")]
    nodes = [helper.make_node("Add", ["sum", "x"], [name]) for name in ("sum.out", "seen")]
    engine = open_engine(save(nodes, ports[:2], ports[2:]), "tensorrt", cuda_graph=True)
    stepper = engine.stepper([Recurrence("sum", "sum.out", start=2)])
    engine.close()
    del engine
    stepper.feed({"x": np.ones(2, np.float32)})
    assert [float(stepper.step()["seen"][0]) for _ in range(4)] == [3, 4, 5, 6]
    stepper.close()


def test_it_describes_itself(gpu: FakeGpu, build: Build) -> None:
    with load(build().path, "tensorrt") as session:
        found = session.describe()
    assert found["library"] == "tensorrt"
    assert found["version"] == "10.3.0"
    assert found["device"] == "FakeGPU Orin (compute capability 8.7)"
    assert found["engine"] == gpu.engines()[0].name


def test_it_has_one_device_and_records_there(gpu: FakeGpu, build: Build) -> None:
    assert find_backend("tensorrt").devices == ("cuda",)
    with pytest.raises(InputError, match="unknown device of the backend tensorrt 'cpu'"):
        load(build().path, "tensorrt", device="cpu")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FakeError.cudaErrorNoDevice, "no NVIDIA GPU"),
        (FakeError.cudaErrorInsufficientDriver, r"driver is missing or too old.*cuda-bindings>=12\.8,<13"),
    ],
)
def test_a_machine_without_gpu_or_driver(gpu: FakeGpu, build: Build, error: FakeError, words: str) -> None:
    gpu.cuda.error = error
    with pytest.raises(MissingError, match=words) as caught:
        load(build().path, "tensorrt")
    assert caught.value.exit_code == 3
    assert not gpu.cache.exists()


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("tensorrt", "TensorRT is not installed here.*pip install tensorrt"),
        ("cuda.bindings.runtime", r"cuda-bindings is missing.*pip install 'cuda-bindings>=12\.8'"),
        ("polygraphy", "Polygraphy, which is missing.*pip install polygraphy"),
    ],
)
def test_a_missing_library_is_named_with_its_command(
    gpu: FakeGpu, build: Build, monkeypatch: pytest.MonkeyPatch, library: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingError, match=words) as caught:
        load(build().path, "tensorrt")
    assert len(str(caught.value).splitlines()) == 1


def test_a_version_that_is_too_old_is_refused(gpu: FakeGpu, build: Build) -> None:
    gpu.trt.__version__ = "8.6.1"
    with pytest.raises(MissingError, match=r"TensorRT 8\.6\.1 is installed; 10\.3 and newer are needed"):
        load(build().path, "tensorrt")


def test_a_jetson_takes_the_systems_tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = record(tmp_path, {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3"})
    monkeypatch.setattr(machine, "sees_system_packages", lambda: False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(
        MissingError,
        match=r"not installed here.*sudo apt install nvidia-jetpack python3-libnvinfer.*--system-site-pack",
    ):
        tensorrt_library.import_library(root)
    (root / "usr/lib/python3.10/dist-packages/tensorrt").mkdir(parents=True)
    with pytest.raises(MissingError, match=r"is on this board, but this virtual environment.*--system-site-packages"):
        tensorrt_library.import_library(root)
