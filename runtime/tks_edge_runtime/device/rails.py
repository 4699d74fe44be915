"""The power rails of a Jetson, as its current monitors show them.

An INA3221 has three channels: a label, the voltage in mV and the current in mA (in Linux, hwmon/ina3221.rst). Which
channel is which rail differs between boards, so the label is the key. An INA238 has one, with the power in µW
(hwmon/ina238.rst); on a Thor it is the input of the whole board.
"""

from __future__ import annotations

from dataclasses import dataclass

from tks_edge_runtime.device.energy_source import EnergySource, Probe
from tks_edge_runtime.device.tree import Tree
from tks_edge_runtime.energy import BOARD, PART

_INA3221 = "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
_INA238 = "sys/bus/i2c/drivers/ina238/*/hwmon/hwmon*"
_NO_RAIL = ("NC", "sum of shunt voltages")
_WHOLE = {"VDD_IN": "module rail VDD_IN, not wall", "VIN": "board input VIN, not wall"}
"""Rails that everything else on the board hangs on, the label by which a report calls them."""


@dataclass(frozen=True)
class Rail:
    """One rail: its label, and the files it is read from; `power` (in µW) where the monitor has it."""

    label: str
    voltage: str
    current: str
    power: str | None = None

    def watts(self, tree: Tree) -> float | None:
        """Read the power in W; None where it cannot be read at this moment."""
        if self.power is not None:
            microwatts = tree.integer(self.power)
            return None if microwatts is None else microwatts / 1e6
        millivolts, milliamperes = tree.integer(self.voltage), tree.integer(self.current)
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6


def rails(tree: Tree) -> list[Rail]:
    """Find the rails, the one that everything hangs on first; of a label that comes again, the first rail counts."""
    found: dict[str, Rail] = {}
    for path in tree.paths(f"{_INA238}/power1_input"):
        folder = path.rpartition("/")[0]
        label = tree.constant(f"{folder}/in1_label") or "VIN"
        found.setdefault(label, Rail(label, f"{folder}/in1_input", f"{folder}/curr1_input", path))
    for path in tree.paths(f"{_INA3221}/in[1-3]_label"):
        folder, _, file = path.rpartition("/")
        name, channel = tree.constant(path), file[2]
        if name is not None and name not in _NO_RAIL:
            rail = Rail(name, f"{folder}/in{channel}_input", f"{folder}/curr{channel}_input")
            found.setdefault(name, rail)
    return sorted(found.values(), key=lambda rail: rail.label not in _WHOLE)


def state(tree: Tree) -> dict[str, dict[str, float]]:
    """Return `rails_mw` and `rails_mv` by label, of those rails that can be read; nothing where there are none."""
    power: dict[str, float] = {}
    voltage: dict[str, float] = {}
    for rail in rails(tree):
        watts, millivolts = rail.watts(tree), tree.integer(rail.voltage)
        if watts is not None:
            power[rail.label] = round(watts * 1000, 3)
        if millivolts is not None:
            voltage[rail.label] = millivolts
    return {name: values for name, values in (("rails_mw", power), ("rails_mv", voltage)) if values}


def probes(tree: Tree) -> list[Probe]:
    """Return how the energy of each rail is measured."""
    return [_probe(tree, rail) for rail in rails(tree)]


def _probe(tree: Tree, rail: Rail) -> Probe:
    label = _WHOLE.get(rail.label, f"rail {rail.label}, one of several")
    source = EnergySource(rail.label, label, "power", BOARD if rail.label in _WHOLE else PART)
    return Probe(source, lambda: rail.watts(tree))
