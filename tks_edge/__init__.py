"""Train a spiking network at many timesteps, ship it at one or two.

The names of `__all__` are the public API, documented in docs/api.md; everything else may change. Importing the package
loads neither torch nor anything else: each name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tks_edge_runtime.version import __version__

if TYPE_CHECKING:
    from tks_edge.api import evaluate, export, finetune, train, verify
    from tks_edge_export import adopt
    from tks_edge_runtime import load, pick, profile, report

__all__ = [
    "__version__",
    "adopt",
    "evaluate",
    "export",
    "finetune",
    "load",
    "pick",
    "profile",
    "report",
    "train",
    "verify",
]

_ROOMS = {
    **dict.fromkeys(("evaluate", "export", "finetune", "train", "verify"), "tks_edge.api"),
    "adopt": "tks_edge_export",
    **dict.fromkeys(("load", "pick", "profile", "report"), "tks_edge_runtime"),
}
"""The module of each public function."""


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
