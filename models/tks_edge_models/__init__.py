"""Spiking neurons and networks for tks-edge; needs torch and nothing else."""

from tks_edge_models.errors import ModelError
from tks_edge_models.lif import LIF, LIFParameters, step
from tks_edge_models.network import Network
from tks_edge_models.registry import MODELS, NEURONS, create

__all__ = ["LIF", "MODELS", "NEURONS", "LIFParameters", "ModelError", "Network", "create", "step"]
