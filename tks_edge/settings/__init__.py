"""Everything that decides the weights of a run, from what was asked for and a recipe; and where runs are kept.

Importing it does not import torch: the command line does so.
"""

from pathlib import Path

from tks_edge.settings.compute import ComputeSettings
from tks_edge.settings.frames import FrameSettings
from tks_edge.settings.neuron import RESETS, NeuronSettings
from tks_edge.settings.objective import ObjectiveSettings
from tks_edge.settings.resolve import changed, resolve
from tks_edge.settings.training import TrainSettings

RUNS = Path("runs")
"""Where a training goes, and where the newest run is looked for, when no directory is named."""

__all__ = [
    "RESETS",
    "RUNS",
    "ComputeSettings",
    "FrameSettings",
    "NeuronSettings",
    "ObjectiveSettings",
    "TrainSettings",
    "changed",
    "resolve",
]
