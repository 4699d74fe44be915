"""Why a network from elsewhere cannot be taken over."""

from __future__ import annotations

from tks_edge_export.errors import ExportError


class AdoptionError(ExportError):
    """A network of another library has something that ours cannot keep; the message names the module and what it is."""
