"""What machine this is, what state it is in while something is measured on it, and how much energy it uses.

Everything is read below `root`, so that a recorded tree can stand in for a machine. What cannot be read is None, and a
dash in a report: never a guess. Nothing needs root or a service, and no file that is missing or garbled is an error.
"""

from tks_edge_runtime.device.energy import EnergyMeter
from tks_edge_runtime.device.instability import instabilities
from tks_edge_runtime.device.machine import Machine, facts, state
from tks_edge_runtime.device.sampler import Sampler

__all__ = ["EnergyMeter", "Machine", "Sampler", "facts", "instabilities", "state"]
