"""Run, measure and report spiking networks exported by tks-edge, without torch."""

from tks_edge_runtime.version import __version__

__all__ = ["__version__"]
