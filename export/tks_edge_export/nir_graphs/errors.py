"""Why a network cannot be read from a file of NIR, or written to one."""

from __future__ import annotations

from tks_edge_export.errors import ExportError


class NirError(ExportError):
    """A file is no network of NIR that ours can be, or a network is none that NIR can say; names the node."""
