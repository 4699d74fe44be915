"""Comma-separated names as people write them on the command line: `fp32,int8`."""

from __future__ import annotations

from collections.abc import Iterable

from tks_edge_runtime.errors import InputError, unknown


def parse_names(kind: str, text: str, allowed: Iterable[str]) -> tuple[str, ...]:
    """The names in `text`, in the order written.

    Raises:
        InputError: one is not allowed, or is given twice.
    """
    names = tuple(entry.strip() for entry in text.split(","))
    for name in names:
        if name not in allowed:
            raise unknown(kind, name, allowed)
        if names.count(name) > 1:
            raise InputError(f"{kind} {text!r} names {name} twice. Name each once.")
    return names
