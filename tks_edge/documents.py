"""A JSON object becomes a dataclass, and every value in it is checked against its field's type."""

from __future__ import annotations

import contextlib
import dataclasses
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_Kind = TypeVar("_Kind")
_PYTHON: dict[Any, Any] = {float: (int, float)}
"""What Python makes of a number in JSON, where it is not the type itself."""


def parse(kind: type[_Kind], document: Any) -> _Kind:
    """The dataclass `kind` that a JSON object holds, as `dataclasses.asdict` wrote it.

    Raises:
        TypeError: it is no object, a field is missing or unknown, or a value is of another type.
    """
    if not isinstance(document, dict):
        raise TypeError(f"a {type(document).__name__} stands where an object is expected")
    hints = get_type_hints(kind)
    if odd := sorted(hints.keys() ^ document.keys()):
        raise TypeError(f"{odd[0]} is {'unknown' if odd[0] in document else 'missing'}")
    return kind(**{name: _value(hint, document[name], name) for name, hint in hints.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    """`value` as a `hint`; `name` is what an error calls it."""
    kind: Any = get_origin(hint) or hint
    inner = get_args(hint)
    if kind in (Union, types.UnionType):
        return _one_of(inner, value, name)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return parse(kind, value)
    if kind in (list, tuple) and isinstance(value, list):
        return kind(_value(inner[0], entry, name) for entry in value)
    if kind is dict and isinstance(value, dict):
        return {key: _value(inner[1], entry, f"{name}.{key}") for key, entry in value.items()}
    # A bool is an int to Python, and none to JSON.
    if kind is Any or (isinstance(value, _PYTHON.get(kind, kind)) and (kind is bool or not isinstance(value, bool))):
        return value
    raise TypeError(f"{name} is of type {type(value).__name__}")


def _one_of(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and types.NoneType in hints:
        return None
    *others, last = (hint for hint in hints if hint is not types.NoneType)
    for hint in others:
        with contextlib.suppress(TypeError):
            return _value(hint, value, name)
    return _value(last, value, name)
