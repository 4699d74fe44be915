"""What a Jetson has beyond any Linux computer: its module and releases, power mode, GPU, memory clock, over-currents.

The files are those of the Jetson Linux Developer Guide, "Platform Power and Performance"; all can be read without root,
except where it says so.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from tks_edge_runtime.device import jetpack, power_mode, rails
from tks_edge_runtime.device.tree import Tree

_GPU = re.compile(r"gpu|\.g[a-z][0-9]+b$")
"""17000000.gpu on an Orin (17000000.ga10b before JetPack 6), gpu-gpc-0 and gpu-nvd-0 on a Thor."""
_MEMORY_CLOCK = ("sys/class/devfreq/bwmgr/cur_freq", "sys/kernel/debug/bpmp/debug/clk/emc/rate")
"""The second is an Orin's, and only root's."""
_MEMORY_LIMIT = ("sys/kernel/nvpmodel_clk_cap/emc", "sys/class/devfreq/bwmgr/max_freq")
_OVER_CURRENTS = "sys/class/hwmon/hwmon*/oc[0-9]_event_cnt"
_HERTZ = 1e6


def facts(tree: Tree) -> dict[str, Any]:
    """Return what does not change; nothing on a machine that is no Jetson. `device.facts` lists the keys."""
    if not jetpack.is_jetson(tree):
        return {}
    release = jetpack.l4t(tree)
    mode = power_mode.asked(tree)
    return {
        "module": jetpack.module(tree),
        "system_on_chip": jetpack.system_on_chip(tree),
        "l4t": release,
        "jetpack": jetpack.JETPACK_OF_L4T.get(release or ""),
        "power_mode": None if mode is None else dataclasses.asdict(mode),
        "tensorrt": jetpack.tensorrt(tree),
        "cuda": jetpack.cuda(tree),
        "memory_clock_limit_mhz": _first_mhz(tree, _MEMORY_LIMIT),
    }


def state(tree: Tree) -> dict[str, Any]:
    """Return what changes; nothing on a machine that is no Jetson. `device.state` lists the keys."""
    if not jetpack.is_jetson(tree):
        return {}
    mode = power_mode.current(tree)
    return {
        "power_mode": None if mode is None else dataclasses.asdict(mode),
        "memory_clock_mhz": _first_mhz(tree, _MEMORY_CLOCK),
        "over_current_counts": _over_currents(tree),
        **rails.state(tree),
    }


def gpu_facts(tree: Tree) -> dict[str, dict[str, Any]]:
    """Return the governor and the clock limits of the GPU's clock domains, by their names; a Thor has two."""
    return {
        path.rpartition("/")[2]: {
            "clock_limit_mhz": _mhz(tree, f"{path}/max_freq"),
            "clock_least_mhz": _mhz(tree, f"{path}/min_freq"),
            "governor": tree.text(f"{path}/governor"),
        }
        for path in _gpus(tree)
    }


def gpu_state(tree: Tree) -> dict[str, dict[str, Any]]:
    """Return clock and load of the GPU's clock domains; the clock is None while the GPU is switched off."""
    return {
        path.rpartition("/")[2]: {
            "clock_mhz": _mhz(tree, f"{path}/cur_freq"),
            "load_percent": _percent(tree.integer(f"{path}/device/load")),
        }
        for path in _gpus(tree)
    }


def _gpus(tree: Tree) -> list[str]:
    return [path for path in tree.paths("sys/class/devfreq/*") if _GPU.search(path)]


def _percent(permille: int | None) -> float | None:
    return None if permille is None else permille / 10


def _mhz(tree: Tree, path: str) -> float | None:
    hertz = tree.integer(path)
    return hertz / _HERTZ if hertz else None


def _first_mhz(tree: Tree, paths: tuple[str, ...]) -> float | None:
    return next((clock for path in paths if (clock := _mhz(tree, path)) is not None), None)


def _over_currents(tree: Tree) -> dict[str, int] | None:
    """Return how often each protection fired since the start: oc1 under-voltage, oc2 average, oc3 instant current."""
    found: dict[str, int] = {}
    for path in tree.paths(_OVER_CURRENTS):
        count = tree.integer(path)
        if count is not None:
            found[path.rpartition("/")[2].removesuffix("_event_cnt")] = count
    return found or None
