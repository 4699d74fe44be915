"""Train a spiking network at many timesteps, ship it at one or two."""

from tks_edge_runtime.version import __version__

__all__ = ["__version__"]
