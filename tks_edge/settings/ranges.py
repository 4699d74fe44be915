"""Numbers of a setting that are out of range."""

from __future__ import annotations

import math

from tks_edge_runtime.errors import InputError


def check_range(name: str, value: float | None, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Refuse a value outside `low` to `high`, or equal to `low` with `above`; None is allowed.

    Raises:
        InputError: it is outside, or not finite.
    """
    if value is None or (math.isfinite(value) and low <= value <= high and not (above and value == low)):
        return
    bounds = f"above {low:g}" if above else f"at least {low:g}"
    upper = "" if math.isinf(high) else f" and at most {high:g}"
    raise InputError(f"{name} is {value}; allowed is {bounds}{upper}.")
