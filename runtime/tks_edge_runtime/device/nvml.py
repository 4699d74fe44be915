"""NVIDIA GPUs through the driver's management library: clocks, power, temperature, load, and what slows them down.

Its Python side is nvidia-ml-py, module `pynvml`. What a GPU does not tell is None: an Orin's, for one, tells nearly
nothing here and all of it in its own files (`jetson.py`).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from tks_edge_runtime.device.energy_source import EnergySource, Probe
from tks_edge_runtime.device.tree import Tree, pairs
from tks_edge_runtime.energy import GPU

_DRIVER = "proc/driver/nvidia/version"
_VERSION = re.compile(r"\b[0-9]{2,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?\b", re.ASCII)
_CARDS = "proc/driver/nvidia/gpus/*/information"
_REASONS = {
    "power cap": "nvmlClocksThrottleReasonSwPowerCap",
    "hardware slowdown": "nvmlClocksThrottleReasonHwSlowdown",
    "temperature (software)": "nvmlClocksThrottleReasonSwThermalSlowdown",
    "temperature (hardware)": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "power brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}
"""What slows a GPU down against its will; the library has other reasons too, such as that there is nothing to do."""


def driver(tree: Tree) -> str | None:
    """Return the version of the NVIDIA driver in the kernel; None where there is none."""
    lines = (tree.text(_DRIVER) or "").splitlines()
    found = _VERSION.search(lines[0]) if lines else None
    return found[0] if found else None


def cards(tree: Tree) -> list[str]:
    """Return the names of the NVIDIA GPUs that the driver in the kernel lists."""
    texts = tree.texts(tree.paths(_CARDS))
    return [name for text in texts if (name := pairs(text).get("Model"))]


class Gpus:
    """The GPUs that NVML knows, open until `close`; of no use on another machine than this.

    Args:
        library: the module `pynvml`, initialised.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        count = self._ask(library.nvmlDeviceGetCount) or 0
        handles = [self._ask(library.nvmlDeviceGetHandleByIndex, index) for index in range(count)]
        self._handles = {str(index): handle for index, handle in enumerate(handles) if handle is not None}

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what does not change, by the GPU's index: name, driver, limits of clocks, power and memory."""
        nvml = self._library
        return {
            index: {
                "name": _text(self._ask(nvml.nvmlDeviceGetName, handle)),
                "driver": _text(self._ask(nvml.nvmlSystemGetDriverVersion)),
                "memory_bytes": self._memory(handle, "total"),
                "power_limit_mw": self._ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle),
                "clock_limit_mhz": self._ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
                "memory_clock_limit_mhz": self._ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM),
            }
            for index, handle in self._handles.items()
        }

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what changes, by the GPU's index."""
        nvml = self._library
        return {
            index: {
                "clock_mhz": self._ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
                "memory_clock_mhz": self._ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
                "load_percent": getattr(self._ask(nvml.nvmlDeviceGetUtilizationRates, handle), "gpu", None),
                "memory_free_bytes": self._memory(handle, "free"),
                "temperature_c": self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
                "power_mw": self._ask(nvml.nvmlDeviceGetPowerUsage, handle),
                "performance_state": self._ask(nvml.nvmlDeviceGetPerformanceState, handle),
                "slowed_by": self._reasons(handle),
            }
            for index, handle in self._handles.items()
        }

    def probes(self) -> list[Probe]:
        """Return how the energy of each GPU is measured: its counter, or where it has none, its power."""
        nvml = self._library
        found = []
        for index, handle in self._handles.items():
            name = _text(self._ask(nvml.nvmlDeviceGetName, handle)) or "NVIDIA GPU"
            if self._ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle) is not None:
                source = EnergySource(f"gpu-{index}", f"NVML counter of {name}, not wall", "counter", GPU)
                found.append(Probe(source, self._thousandth(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)))
            else:
                source = EnergySource(f"gpu-{index}", f"NVML power of {name}, not wall", "power", GPU)
                found.append(Probe(source, self._thousandth(nvml.nvmlDeviceGetPowerUsage, handle)))
        return found

    def close(self) -> None:
        """Let go of the library."""
        self._ask(self._library.nvmlShutdown)

    def _thousandth(self, function: Callable[..., Any], handle: Any) -> Callable[[], float | None]:
        """Make J of mJ, and W of mW."""

        def read() -> float | None:
            value = self._ask(function, handle)
            return None if value is None else value / 1000

        return read

    def _memory(self, handle: Any, part: str) -> int | None:
        return getattr(self._ask(self._library.nvmlDeviceGetMemoryInfo, handle), part, None)

    def _reasons(self, handle: Any) -> list[str] | None:
        bits = self._ask(self._library.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        if bits is None:
            return None
        return [reason for reason, name in _REASONS.items() if bits & getattr(self._library, name)]

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._library.NVMLError:
            return None


def open_gpus() -> Gpus | None:
    """Open this machine's GPUs; None where nvidia-ml-py is not installed, or there is no NVIDIA driver."""
    try:
        library: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return Gpus(library)


def _text(value: Any) -> str | None:
    """Return a text that older versions give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
