"""NVIDIA GPUs, through a fake of the real module `pynvml`: a call that it does not have fails these tests."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pynvml
import pytest

from tks_edge_runtime.device import EnergyMeter, facts, state
from tks_edge_runtime.device.nvml import open_gpus


class NotSupported(pynvml.NVMLError):  # type: ignore[misc]
    """What a GPU raises for what it does not tell."""


def fake_pynvml(**changes: Any) -> Any:
    """The real module's functions with their signatures, answering as one GPU; `changes` replace answers."""
    answers = {
        "nvmlDeviceGetCount": 1,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetName": "NVIDIA Test GPU",
        "nvmlSystemGetDriverVersion": b"570.133.07",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=8_000_000_000, free=6_000_000_000),
        "nvmlDeviceGetEnforcedPowerLimit": 170_000,
        "nvmlDeviceGetMaxClockInfo": 2100,
        "nvmlDeviceGetClockInfo": 1800,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=40),
        "nvmlDeviceGetTemperature": 66,
        "nvmlDeviceGetPowerUsage": 151_500,
        "nvmlDeviceGetPerformanceState": 2,
        "nvmlDeviceGetCurrentClocksThrottleReasons": (
            pynvml.nvmlClocksThrottleReasonSwPowerCap | pynvml.nvmlClocksThrottleReasonGpuIdle
        ),
        "nvmlDeviceGetTotalEnergyConsumption": 5_000_000,
        **changes,
    }
    library = create_autospec(pynvml)
    library.NVMLError = pynvml.NVMLError
    for name in dir(pynvml):
        if name.startswith("nvmlClocksThrottleReason"):
            setattr(library, name, getattr(pynvml, name))
    for name, answer in answers.items():
        function = getattr(library, name)
        if isinstance(answer, Exception | list):
            function.side_effect = answer
        else:
            function.return_value = answer
    return library


def put_in_place(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library)


def test_the_facts_and_the_state_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, fake_pynvml())
    assert facts()["gpus"]["0"] == {
        "name": "NVIDIA Test GPU",
        "driver": "570.133.07",
        "memory_bytes": 8_000_000_000,
        "power_limit_mw": 170_000,
        "clock_limit_mhz": 2100,
        "memory_clock_limit_mhz": 2100,
    }
    assert state()["gpus"]["0"] == {
        "clock_mhz": 1800,
        "memory_clock_mhz": 1800,
        "load_percent": 97,
        "memory_free_bytes": 6_000_000_000,
        "temperature_c": 66,
        "power_mw": 151_500,
        "performance_state": 2,
        "slowed_by": ["power cap"],
    }


def test_what_a_gpu_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = NotSupported(pynvml.NVML_ERROR_NOT_SUPPORTED)
    put_in_place(
        monkeypatch,
        fake_pynvml(nvmlDeviceGetUtilizationRates=refused, nvmlDeviceGetCurrentClocksThrottleReasons=refused),
    )
    found = state()["gpus"]["0"]
    assert (found["load_percent"], found["slowed_by"], found["clock_mhz"]) == (None, None, 1800)


def test_a_gpu_that_tells_nothing_is_left_to_its_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake_pynvml()
    for name in dir(pynvml):
        if name.startswith("nvmlDeviceGet") and name not in ("nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"):
            getattr(library, name).side_effect = NotSupported(pynvml.NVML_ERROR_NOT_SUPPORTED)
    put_in_place(monkeypatch, library)
    assert "gpus" not in facts()
    assert "gpus" not in state()


def test_the_energy_of_a_gpu_is_its_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake_pynvml(nvmlDeviceGetTotalEnergyConsumption=[1_000_000, 1_000_000, 1_000_000, 1_042_500, 1_042_500])
    put_in_place(monkeypatch, library)
    with EnergyMeter(period=60) as meter:
        source = next(source for source in meter.sources if source.name == "gpu-0")
        assert (source.kind, source.label) == ("counter", "NVML counter of NVIDIA Test GPU, not wall")
        assert meter.read()["gpu-0"] == 42.5
    library.nvmlShutdown.assert_called_once_with()


def test_a_gpu_without_a_counter_is_integrated(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = NotSupported(pynvml.NVML_ERROR_NOT_SUPPORTED)
    put_in_place(monkeypatch, fake_pynvml(nvmlDeviceGetTotalEnergyConsumption=refused))
    with EnergyMeter(period=60) as meter:
        source = next(source for source in meter.sources if source.name == "gpu-0")
        assert source.kind == "power"
        assert meter.mean_watts(0.01)["gpu-0"] == pytest.approx(151.5)


def test_without_the_library_or_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, fake_pynvml(nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)))
    assert open_gpus() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpus() is None


def test_the_real_library_says_that_there_is_no_driver_or_opens() -> None:
    gpus = open_gpus()
    if gpus is None:
        with pytest.raises(pynvml.NVMLError):
            pynvml.nvmlInit()
    else:
        gpus.close()
