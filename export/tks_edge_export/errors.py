"""The errors of the exporter, under the runtime's root."""

from __future__ import annotations

from tks_edge_runtime.errors import CheckError, InputError


class ExportError(InputError):
    """A network that cannot be exported as it is; the message names the module or operator and what to do."""


class VerificationError(CheckError):
    """A graph that is not the network it was made from; the message names the first layer and timestep that differ."""
