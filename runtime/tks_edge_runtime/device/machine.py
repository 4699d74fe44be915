"""Everything that can be read of one machine, put together: facts that stay, and the state that changes."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from tks_edge_runtime.device import jetpack, jetson, linux, nvml, thermal
from tks_edge_runtime.device.tree import Tree

_ROOT = Path("/")


class Machine:
    """A machine that is read again and again; its files, and the library of its GPUs, stay open until `close`.

    Args:
        root: the folder that stands for /; of another than / (a recorded tree) only the files are read.
    """

    def __init__(self, root: Path = _ROOT) -> None:
        self._tree = Tree(root)
        self._gpus = nvml.open_gpus() if self._tree.live else None

    def facts(self) -> dict[str, Any]:
        """Return what does not change; see `facts`."""
        tree = self._tree
        gpus = jetson.gpu_facts(tree) | _known(self._gpus.facts() if self._gpus else {})
        software = {
            "tensorrt": jetpack.tensorrt(tree),
            "cuda": jetpack.cuda(tree),
            "gpu_driver": nvml.driver(tree),
            "gpus": gpus or None,
        }
        known = {name: value for name, value in software.items() if value}
        return linux.facts(tree) | known | jetson.facts(tree)

    def state(self) -> dict[str, Any]:
        """Return what changes; see `state`."""
        gpus = jetson.gpu_state(self._tree) | _known(self._gpus.state() if self._gpus else {})
        found = linux.state(self._tree) | thermal.state(self._tree) | jetson.state(self._tree)
        return found | ({"gpus": gpus} if gpus else {})

    def close(self) -> None:
        """Close the files and the library."""
        self._tree.close()
        if self._gpus is not None:
            self._gpus.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def facts(root: Path = _ROOT) -> dict[str, Any]:
    """Return what does not change while something is measured; None is what could not be read.

    Keys of every machine: `cpu`, `board`, `architecture`, `cores_logical`, `cores_physical`, `cores_usable` (by this
    process), `virtual_machine`, `memory_bytes`, `swap_bytes`, `os`, `kernel`, `python`, `governors`, `turbo`,
    `clock_limit_mhz`. Where there is such a thing: `tensorrt` and `cuda` (versions of the system's), `gpu_driver`, and
    `gpus`: of each, by its name or NVML's index, `clock_limit_mhz` and what else it tells. Of a Jetson: `module`,
    `system_on_chip`, `l4t`, `jetpack`, `power_mode` (`name` and `id`), `memory_clock_limit_mhz`.
    """
    with Machine(root) as machine:
        return machine.facts()


def state(root: Path = _ROOT) -> dict[str, Any]:
    """Return what changes, one snapshot; None is what could not be read.

    Keys of every machine: `time` (s since the epoch), `load` (1, 5, 15 minutes), `memory_available_bytes`, `clock_mhz`
    (min, mean, max over the CPUs), `governors`, `temperatures_c` by thermal zone, `throttle_counts` by kind, over all
    CPUs. Where there is such a thing: `thermal_margins_c` (by zone, how far below the temperature at which the
    kernel slows something down), `slowed_by` (cooling devices, 0 where they do nothing), `fan_rpm`, `fan_pwm`, and
    `gpus`: of each `clock_mhz`, `load_percent` and what else it tells. Of a Jetson: `power_mode`, `memory_clock_mhz`,
    `over_current_counts`, and by label `rails_mw` and `rails_mv`.
    """
    with Machine(root) as machine:
        return machine.state()


def _known(gpus: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out a GPU that tells nothing but its name: a Jetson's, which has files of its own."""
    return {
        index: gpu
        for index, gpu in gpus.items()
        if any(value is not None for name, value in gpu.items() if name not in ("name", "driver"))
    }
