"""Quantities as people write them on a command line: a number and its unit, which is asked for and never guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tks_edge_runtime.errors import InputError

_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ%]*)\s*")
_TIMES = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
_ENERGIES = {"nJ": 1e-6, "uJ": 1e-3, "mJ": 1.0, "J": 1e3}
_LARGEST_SHARE = 1.0


def milliseconds(text: str, option: str) -> float:
    """A time in ms, from text such as `5ms`, `0.005 s` or `800us`.

    Raises:
        InputError: no positive number with a unit of time, naming `option`.
    """
    return _quantity(text, option, _TIMES, "a time", "5ms, 0.005s or 800us")


def millijoules(text: str, option: str) -> float:
    """An energy in mJ, from text such as `20mJ`, `0.02 J` or `800uJ`.

    Raises:
        InputError: no positive number with a unit of energy, naming `option`.
    """
    return _quantity(text, option, _ENERGIES, "an energy", "20mJ, 0.02J or 800uJ")


def percentage(text: str, option: str) -> float:
    """A percentage, from text such as `97.5` or `97.5%`.

    A number of at most 1 without a sign may be meant as a share of 1, and is refused.

    Raises:
        InputError: no number between 0 and 100, or one that can be read in two ways, naming `option`.
    """
    value, unit = _parts(text)
    if value is None or unit not in ("", "%") or not 0 <= value <= 100:
        raise InputError(f"{option} is {text!r}; give a percentage from 0 to 100, such as 97.5 or 97.5%.")
    if unit == "" and 0 < value <= _LARGEST_SHARE:
        raise InputError(
            f"{option} is {text!r}, which may be a share of 1 or a percentage; give {100 * value:g} or {value:g}%."
        )
    return value


def _quantity(text: str, option: str, units: Mapping[str, float], what: str, examples: str) -> float:
    value, unit = _parts(text)
    if value is None or not 0 < value < math.inf:
        raise InputError(f"{option} is {text!r}; give {what} greater than 0 with its unit, such as {examples}.")
    if unit not in units:
        wrong = f"whose unit {unit!r} is none of {', '.join(units)}" if unit else "without a unit"
        raise InputError(f"{option} is {text!r}, {wrong}; give {what} such as {examples}.")
    return value * units[unit]


def _parts(text: str) -> tuple[float | None, str]:
    """The number, and the unit with its micro sign as `u`; None where there is no such number."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None, text
    return float(found[1]), re.sub("[µμ]", "u", found[2])
