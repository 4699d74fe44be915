"""Spiking neurons and networks for tks-edge; needs torch and nothing else."""

from tks_edge_models.errors import ModelError
from tks_edge_models.lif import LIF, LIFParameters, step
from tks_edge_models.network import Network
from tks_edge_models.neuron import Neuron
from tks_edge_models.registry import MODELS, NEURONS, create, from_spec

__all__ = [
    "LIF",
    "MODELS",
    "NEURONS",
    "LIFParameters",
    "ModelError",
    "Network",
    "Neuron",
    "create",
    "from_spec",
    "step",
]
