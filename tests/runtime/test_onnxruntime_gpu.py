"""ONNX Runtime on NVIDIA GPUs: against a fake one, with the real one's rules; and what the real one here refuses."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.conftest import Build, BuildSpiking
from tests.runtime.fake_onnxruntime import FakeOnnxRuntime
from tks_edge_runtime import machine
from tks_edge_runtime.artifact import Precision
from tks_edge_runtime.backends import Engine, RunTimes, open_engine
from tks_edge_runtime.backends.onnxruntime_devices import CUDA, PROVIDERS, TENSORRT, require
from tks_edge_runtime.errors import ArtifactError, InputError, MissingError
from tks_edge_runtime.exit_measures import ExitRule
from tks_edge_runtime.session import load

Install = Callable[..., FakeOnnxRuntime]
GPU_DEVICES = (CUDA, TENSORRT)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a fake ONNX Runtime in place of the real one, on a machine with a driver where every library loads."""
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setattr(machine, "nvidia_driver", lambda *_: "NVRM version: 580")

    def install_fake(*, missing: str | None = None, **options: Any) -> FakeOnnxRuntime:
        fake = FakeOnnxRuntime(tmp_path, **options)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake)

        def load_library(path: str) -> None:
            if missing is not None and (missing in path or "libonnxruntime_providers" in path):
                raise OSError(f"{missing}: cannot open shared object file: No such file or directory")

        monkeypatch.setattr(ctypes, "CDLL", load_library)
        return fake

    return install_fake


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("device", GPU_DEVICES)
def test_it_computes_in_buffers_on_the_gpu(build: Build, install: Install, device: str, cuda_graph: bool) -> None:
    fake, built = install(), build(batch=2)
    with load(built.path, "onnxruntime", device=device, cuda_graph=cuda_graph) as session:
        assert session.device == device
        assert session.self_test().passed
        np.testing.assert_allclose(session.run(built.inputs), built.logits(built.inputs), rtol=1e-5, atol=1e-5)
        assert session.times.compute > 0
        assert session.times.copies is not None
        assert session.times.copies > 0
        assert session.times.enqueue is None
        described = session.describe()
    assert (described["cuda_graph"], described["timing"]) == ("on" if cuda_graph else "off", "host clock")
    assert described["device"] == f"GPU ({PROVIDERS[device]})"
    (opened,) = fake.sessions
    assert opened.replays == cuda_graph
    behind = [PROVIDERS[CUDA]] if device == TENSORRT else []
    assert opened.providers == [PROVIDERS[device], *behind]
    assert opened.options[PROVIDERS[CUDA]]["use_tf32"] == "0"


@pytest.mark.parametrize(("device", "cuda_graph"), [(CUDA, False), (CUDA, True), (TENSORRT, False)])
def test_a_step_graph_keeps_its_states_on_the_gpu(
    build_spiking: BuildSpiking, install: Install, device: str, cuda_graph: bool
) -> None:
    install()
    built = build_spiking(timesteps=4)
    with load(built.path, "onnxruntime", device=device, cuda_graph=cuda_graph) as session:
        for _ in range(2):
            np.testing.assert_array_equal(session.run(built.inputs), built.mean(built.inputs, 4))
        with session.stream() as one, session.stream() as other:
            for image in (0, 1):
                for stream in (one, other):
                    stream.step(built.inputs[image : image + 1])
                    assert stream.times.copies is not None
            np.testing.assert_array_equal(one.mean, other.mean)


@pytest.mark.parametrize("device", GPU_DEVICES)
def test_early_exit_on_the_gpu_is_for_one_sample_at_a_time(
    build_spiking: BuildSpiking, install: Install, tmp_path: Path, device: str
) -> None:
    install()
    built, rule = build_spiking(), ExitRule("margin", 0.2)
    with (
        load(built.path, "onnxruntime", device=device) as session,
        session.anytime(rule) as anytime,
    ):
        answers = anytime.run(built.inputs)
    expected = [built.mean(image[None], steps)[0] for image, steps in zip(built.inputs, answers.steps, strict=True)]
    np.testing.assert_array_equal(answers.logits, expected)
    with (
        load(build_spiking(batch=2, folder=tmp_path / "two").path, "onnxruntime", device=device) as session,
        pytest.raises(InputError, match=rf"no part of a tensor on the device {device}, .* --backend tensorrt"),
    ):
        session.anytime(rule)


def test_tensorrt_records_one_graph_so_a_step_graph_gets_none(build_spiking: BuildSpiking, install: Install) -> None:
    install()
    with (
        load(build_spiking().path, "onnxruntime", device=TENSORRT, cuda_graph=True) as session,
        pytest.raises(InputError, match=r"a step graph needs three.*Leave --cuda-graph out"),
    ):
        session.stream()


def precision(name: str, membrane: str) -> Precision:
    return Precision(name, "float16" if name == "fp16" else "int8", "float16", membrane)


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (Precision("fp32", "float32", "float32", "float32"), ("0", "0")),
        (precision("fp16", "float16"), ("1", "0")),
        (precision("int8", "float32"), ("0", "1")),
    ],
)
def test_tensorrt_may_compute_in_the_precision_of_the_graph_alone(
    build: Build, install: Install, given: Precision, allowed: tuple[str, str]
) -> None:
    fake = install()
    load(build(precision=given).path, "onnxruntime", device=TENSORRT).close()
    options = fake.sessions[0].options[PROVIDERS[TENSORRT]]
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == allowed


def test_membranes_that_tensorrt_would_round_are_refused(build: Build, install: Install) -> None:
    install()
    path = build(precision=precision("fp16", "float32")).path
    with pytest.raises(InputError, match=r"would compute these in float16 too. Use --backend tensorrt"):
        load(path, "onnxruntime", device=TENSORRT)


def test_tf32_that_was_asked_for_is_refused(build: Build, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with pytest.raises(InputError, match="spikes flip in TF32"):
        load(build().path, "onnxruntime", device=TENSORRT)


def test_operators_that_only_a_cpu_has_are_refused(build: Build, install: Install) -> None:
    install(cpu_only_operators=True)
    with pytest.raises(ArtifactError, match=r"on the device cuda: some of its operators .*--target generic"):
        load(build().path, "onnxruntime", device=CUDA)


@pytest.mark.parametrize("device", GPU_DEVICES)
def test_a_provider_that_is_dropped_without_a_word_is_an_error(build: Build, install: Install, device: str) -> None:
    install(dropped=(PROVIDERS[device],))
    with pytest.raises(MissingError, match=f"instead of {PROVIDERS[device]}"):
        load(build().path, "onnxruntime", device=device)


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        (CUDA, {"available": ("CPUExecutionProvider",)}, ("has no CUDAExecutionProvider", "onnxruntime-gpu")),
        (CUDA, {"broken": "no interface", "missing": "libcublasLt.so.13"}, ("libcublasLt.so.13 was", "[cuda,cudnn]")),
        (CUDA, {"broken": "no interface", "missing": "libcuda.so.1"}, ("libcuda.so.1 was not", "ubuntu-drivers")),
        (CUDA, {"broken": "x.cc:1 CUDA failure 35: too old ; GPU=0"}, ("(CUDA failure 35: too old)", "nvidia-smi")),
        (CUDA, {"broken": "out of luck"}, ("the GPU cannot be used (out of luck)",)),
        (CUDA, {"missing": "libcudnn.so"}, ("libcudnn.so.9 was not found", "[cuda,cudnn]")),
        (TENSORRT, {"missing": "libnvinfer.so.10"}, ("libnvinfer.so.10 was not found", "install 'tensorrt==10.*'")),
    ],
)
def test_what_is_missing_is_named_with_what_helps(
    install: Install, monkeypatch: pytest.MonkeyPatch, device: str, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(machine, "kind", lambda *_: "x86-64")
    install(**options)
    with pytest.raises(MissingError) as caught:
        require(device)
    assert f"the backend onnxruntime cannot compute on the device {device} here: " in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_jetson_is_told_of_the_native_backend(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "kind", lambda *_: "jetson")
    install(available=("CPUExecutionProvider",))
    with pytest.raises(MissingError, match=r"no official wheels .* \(onnxruntime#20503\): use --backend tensorrt"):
        require(CUDA)


def test_everything_that_is_missing_is_said_at_once(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(available=("CPUExecutionProvider",))
    monkeypatch.setattr(machine, "nvidia_driver", lambda *_: None)
    with pytest.raises(MissingError, match="there is no NVIDIA driver, and the installed onnxruntime"):
        require(CUDA)


@pytest.mark.parametrize("device", GPU_DEVICES)
def test_threads_of_a_gpu_are_refused(build: Build, install: Install, device: str) -> None:
    install()
    with pytest.raises(InputError, match=f"the device {device} computes on no threads; leave --threads out"):
        open_engine(build().path, "onnxruntime", device=device, threads=2)


def test_the_real_library_is_asked_first(build: Build, tmp_path: Path) -> None:
    """Nothing is faked here but the root, which has no driver whatever this machine has."""
    with pytest.raises(MissingError, match="there is no NVIDIA driver"):
        require(CUDA, tmp_path)
    engine: Engine = open_engine(build().path, "onnxruntime", threads=1)
    assert engine.times == RunTimes(0)
