"""torch.onnx.export lists all operators anew for each network, which takes as long as all else it does for a small one.

The lists are the same each time, so a process of tests, which captures hundreds of networks, makes them once. Where
another version of torch keeps them elsewhere, it makes them each time.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any


def make_once() -> None:
    """Let this process make the lists once."""
    with contextlib.suppress(ImportError, AttributeError):
        from torch._export import utils
        from torch.onnx._internal.exporter import _registration

        # It fills a namespace, in which what is filled in stays.
        utils._materialize_cpp_cia_ops = functools.cache(utils._materialize_cpp_cia_ops)
        _registration.ONNXRegistry.from_torchlib = classmethod(  # type: ignore[method-assign, assignment]
            _copying(functools.cache(_registration.ONNXRegistry.from_torchlib))
        )


def _copying(made: Any) -> Any:
    """A registry for each caller: who adds operators adds them to theirs."""

    def from_torchlib(cls: Any, **options: Any) -> Any:
        table, own = made(**options), cls()
        own.__dict__.update(table.__dict__)
        own.functions = {target: list(found) for target, found in table.functions.items()}
        return own

    return from_torchlib


make_once()
