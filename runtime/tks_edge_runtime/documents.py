"""A JSON object becomes a dataclass, and every value in it is checked against its field's type."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

_Kind = TypeVar("_Kind")


def parse(kind: type[_Kind], document: Any, where: str, *, exact: bool = True, older: bool = False) -> _Kind:
    """The dataclass `kind` that a JSON object holds, as `dataclasses.asdict` wrote it.

    Args:
        kind: a dataclass of plain values, tuples, lists, dictionaries and other dataclasses.
        document: what `json.loads` gave.
        where: what an error calls it; fields are named below it.
        exact: whether a field that `kind` does not have is refused, rather than passed over.
        older: whether a field that is missing has its default, if it has one, as in files of older versions.

    Raises:
        TypeError: it is no object, a field is missing or unknown, or a value is of another type.
    """
    if not isinstance(document, dict):
        raise TypeError(f"{where} is {type(document).__name__}, not an object")
    hints = _hints(cast(Any, kind))
    missing = sorted(field.name for field in dataclasses.fields(cast(Any, kind)) if _is_missing(field, document, older))
    if missing:
        raise TypeError(f"{where} lacks {', '.join(missing)}")
    if exact and (unknown := sorted(document.keys() - hints.keys())):
        raise TypeError(f"{where} has an unknown field, {unknown[0]}")
    present = {name: hint for name, hint in hints.items() if name in document}
    return kind(
        **{name: _value(hint, document[name], f"{where}.{name}", exact, older) for name, hint in present.items()}
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_missing(field: dataclasses.Field[Any], document: dict[str, Any], older: bool) -> bool:
    has_default = not (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
    return field.name not in document and not (older and has_default)


def _value(hint: Any, value: Any, where: str, exact: bool, older: bool) -> Any:
    """`value` as a `hint`."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return value
    if kind in (Union, types.UnionType):
        return _one_of(inner, value, where, exact, older)
    if dataclasses.is_dataclass(kind):
        return parse(cast(type, kind), value, where, exact=exact, older=older)
    if kind in (list, tuple):
        return kind(_entries(inner, value, where, exact, older))
    if kind is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{where} is {type(value).__name__}, not an object")
        return {key: _value(inner[1], entry, f"{where}.{key}", exact, older) for key, entry in value.items()}
    return _scalar(kind, inner, value, where)


def _scalar(kind: Any, allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    """`value` as a number, a string or a truth value, or as one of those `allowed` by a literal."""
    if kind is Literal:
        if value not in allowed:
            raise TypeError(f"{where} is {value!r}, not {' or '.join(map(repr, allowed))}")
        return value
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise TypeError(f"{where} is {value!r}, not {kind.__name__}")
    return value


def _entries(hints: tuple[Any, ...], value: Any, where: str, exact: bool, older: bool) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{where} is {type(value).__name__}, not a list")
    fixed = len(hints) > 1 and hints[-1] is not Ellipsis
    if fixed and len(value) != len(hints):
        raise TypeError(f"{where} has {len(value)} entries, not {len(hints)}")
    return [_value(hints[i if fixed else 0], entry, f"{where}[{i}]", exact, older) for i, entry in enumerate(value)]


def _one_of(hints: tuple[Any, ...], value: Any, where: str, exact: bool, older: bool) -> Any:
    """`value` as the one of several types that it is: exactly, before an integer is taken for a number."""
    if value is None and types.NoneType in hints:
        return None
    if type(value) in hints:
        return value
    *others, last = (hint for hint in hints if hint is not types.NoneType)
    for hint in others:
        with contextlib.suppress(TypeError):
            return _value(hint, value, where, exact, older)
    return _value(last, value, where, exact, older)
