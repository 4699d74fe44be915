"""Machine facts and device states, which differ from board to board, as rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tks_edge_runtime.reporting.document import Backend, DeviceStates
from tks_edge_runtime.reporting.wording import NONE

_UNITS = {
    "_bytes": "GB",
    "_mhz": "MHz",
    "_c": "°C",
    "_mw": "mW",
    "_mv": "mV",
    "_rpm": "rpm",
    "_percent": "%",
}


def fact_table(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """One row for each fact: its name in words, with its unit, and its value."""
    return [(name, _written(value)) for name, value in _leaves(facts)]


def engine_table(engines: Sequence[Backend]) -> list[tuple[str, str]]:
    """One row for each thing that an engine says of itself; where there are several, under its name."""
    several = len(engines) > 1
    return [
        row
        for engine in engines
        for row in fact_table({f"{engine.name} on {engine.device}" if several else "backend": engine.description})
    ]


def state_table(states: DeviceStates) -> list[tuple[str, str, str, str]]:
    """One row for each fact of the device state: its name, before, the range while measuring, after."""
    before, after = dict(_leaves(states.before)), dict(_leaves(states.after))
    during = [dict(_leaves(sample)) for sample in states.during]
    names = dict.fromkeys(name for leaves in (before, *during, after) for name in leaves)
    return [
        (
            name,
            _written(before.get(name)),
            _range([sample[name] for sample in during if name in sample]),
            _written(after.get(name)),
        )
        for name in names
        if name != "time"
    ]


def _leaves(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested dictionaries with its path in words: `clock, max (MHz)`; sizes in bytes become GB."""
    for key, value in facts.items():
        suffix = next((suffix for suffix in _UNITS if str(key).endswith(suffix)), None)
        words = str(key).removesuffix(suffix or "")
        # A rail keeps the label that the board gives it.
        words = words.replace("_", " ") if words.islower() else words
        name = f"{prefix}, {words}" if prefix else words
        unit = f" ({_UNITS[suffix]})" if suffix else ""
        if isinstance(value, dict):
            yield from ((inner + unit, entry) for inner, entry in _leaves(value, name))
        elif suffix == "_bytes" and isinstance(value, int):
            yield name + unit, value / 1e9
        else:
            yield name + unit, value


def _range(values: list[Any]) -> str:
    """The least and the greatest of the values, entry by entry where they are lists; texts are listed."""
    if values and all(isinstance(value, list | tuple) and len(value) == len(values[0]) for value in values):
        return ", ".join(_range(list(entries)) for entries in zip(*values, strict=True)) or NONE
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if numbers and len(numbers) == len(values):
        low, high = _written(min(numbers)), _written(max(numbers))
        return low if low == high else f"{low} to {high}"
    return " / ".join(dict.fromkeys(_written(value) for value in values)) or NONE


def _written(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(_written(entry) for entry in value) or NONE
    return str(value)
