"""The energy counters of a PC's processor (RAPL), by Linux, Documentation/power/powercap/powercap.rst.

Since Linux 5.10 only root may read them, because they let one program watch another.
"""

from __future__ import annotations

from tks_edge_runtime.device.energy_source import EnergySource, Probe
from tks_edge_runtime.device.tree import Tree
from tks_edge_runtime.energy import PART, PROCESSOR

_ZONES = "sys/class/powercap/intel-rapl:*"
_MICROJOULES = 1e6


def zones(tree: Tree) -> list[str]:
    """Find the processors' packages, and their memory where it has a counter of its own."""
    found = []
    for zone in tree.paths(_ZONES):
        is_part = zone.count(":") > 1
        if not is_part or tree.constant(f"{zone}/name") == "dram":
            found.append(zone)
    return found


def unreadable(tree: Tree) -> list[str]:
    """Find the counters that are there and cannot be read, as paths below the root."""
    return [f"{zone}/energy_uj" for zone in zones(tree) if tree.integer(f"{zone}/energy_uj") is None]


def probes(tree: Tree) -> list[Probe]:
    """Return how the energy of each counter is read."""
    return [_probe(tree, zone) for zone in zones(tree)]


def _probe(tree: Tree, zone: str) -> Probe:
    numbers = zone.rpartition("intel-rapl:")[2]
    name = tree.constant(f"{zone}/name") or f"rapl-{numbers}"
    name = f"{name}-{numbers.partition(':')[0]}" if name == "dram" else name
    limit = tree.integer(f"{zone}/max_energy_range_uj")

    def joules() -> float | None:
        microjoules = tree.integer(f"{zone}/energy_uj")
        return None if microjoules is None else microjoules / _MICROJOULES

    covers = PROCESSOR if name.startswith("package") else PART
    source = EnergySource(name, f"RAPL counter {name} of the processor, not wall", "counter", covers)
    return Probe(source, joules, None if limit is None else limit / _MICROJOULES)
