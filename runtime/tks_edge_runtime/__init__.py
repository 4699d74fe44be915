"""Run, measure and report spiking networks exported by tks-edge, without torch.

The names of `__all__` are the public API, documented in docs/api.md; everything else may change. Importing the package
loads nothing: each name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tks_edge_runtime.version import __version__

if TYPE_CHECKING:
    from tks_edge_runtime.profiling import profile
    from tks_edge_runtime.reporting.build import report
    from tks_edge_runtime.reporting.choosing import pick
    from tks_edge_runtime.session import load

__all__ = ["__version__", "load", "pick", "profile", "report"]

_ROOMS = {"load": "session", "pick": "reporting.choosing", "profile": "profiling", "report": "reporting.build"}
"""The module of each public function."""


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
