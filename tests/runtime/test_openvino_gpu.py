"""OpenVINO on a GPU: a fake core that has one and computes on the CPU; and what the real one here says."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from tests.runtime.conftest import Build, BuildSpiking
from tks_edge_runtime import machine
from tks_edge_runtime.backends import open_engine
from tks_edge_runtime.backends import openvino as backend
from tks_edge_runtime.errors import InputError, MissingError
from tks_edge_runtime.session import load

openvino: Any = importlib.import_module("openvino")


class FakeGpuCore:
    """A core that lists a GPU of Intel's, and lets the CPU do its work."""

    available_devices = ("CPU", "GPU.0", "GPU.1")

    def __init__(self) -> None:
        self.real = openvino.Core()
        self.settings: dict[str, str] = {}
        self.host_tensors = 0

    def get_property(self, device: str, name: str) -> Any:
        return "Fake GPU" if device == "GPU" else self.real.get_property(device, name)

    def compile_model(self, model: Any, device: str, settings: dict[str, str]) -> Any:
        assert device == "GPU"
        self.settings = settings
        return self.real.compile_model(model, "CPU", settings)

    def get_default_context(self, device: str) -> FakeGpuCore:
        assert device == "GPU"
        return self

    def create_host_tensor(self, kind: Any, shape: Any) -> Any:
        self.host_tensors += 1
        return openvino.Tensor(kind, shape)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeGpuCore:
    fake = FakeGpuCore()
    monkeypatch.setattr(backend, "_core", lambda _: fake)
    return fake


def test_it_computes_in_float32_on_the_gpu(build: Build, core: FakeGpuCore) -> None:
    built = build()
    with load(built.path, "openvino", device="gpu") as session:
        assert session.self_test().passed
        described = session.describe()
    assert core.settings["INFERENCE_PRECISION_HINT"] == "f32"
    assert "INFERENCE_NUM_THREADS" not in core.settings
    assert (described["device"], described["timing"]) == ("GPU (Fake GPU)", "host clock, copies included")


def test_the_states_of_a_step_graph_lie_where_the_gpu_reaches_them(
    build_spiking: BuildSpiking, core: FakeGpuCore
) -> None:
    built = build_spiking(timesteps=4)
    with load(built.path, "openvino", device="gpu") as session:
        np.testing.assert_array_equal(session.run(built.inputs), built.mean(built.inputs, 4))
    assert core.host_tensors == 2 + 3 * len(built.manifest.states)


def test_a_host_tensor_is_made_by_what_the_real_library_has() -> None:
    assert callable(openvino.RemoteContext.create_host_tensor)
    assert callable(openvino.Core.get_default_context)


def test_threads_of_a_gpu_are_refused(build: Build, core: FakeGpuCore) -> None:
    with pytest.raises(InputError, match="the device gpu computes on no threads"):
        open_engine(build().path, "openvino", device="gpu", threads=1)


@pytest.mark.skipif(
    any(name.startswith("GPU") for name in openvino.Core().available_devices), reason="there is a GPU here"
)
def test_without_a_gpu_the_driver_to_install_is_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "openvino_gpu_advice", lambda *_: "Install intel-opencl-icd.")
    with pytest.raises(MissingError, match=r"device gpu here: it lists CPU. Install intel-opencl-icd"):
        load(build().path, "openvino", device="gpu")
