"""Lists of timesteps as people write them: `1,2,4,8` or `1-8`."""

from __future__ import annotations

from tks_edge_runtime.artifact import MAX_TIMESTEPS
from tks_edge_runtime.errors import InputError

_FORM = f"Give numbers from 1 to {MAX_TIMESTEPS}, such as 1,2,4,8 or 1-8."


def check_timesteps(timesteps: int) -> int:
    """`timesteps`, when it is a T that can be trained and unrolled.

    Raises:
        InputError: it is below 1 or above `MAX_TIMESTEPS`.
    """
    if not 1 <= timesteps <= MAX_TIMESTEPS:
        raise InputError(f"timesteps is {timesteps}; allowed is 1 to {MAX_TIMESTEPS}.")
    return timesteps


def powers_of_two(largest: int) -> tuple[int, ...]:
    """1, 2, 4, ... below `largest`, and `largest` itself."""
    return (*(1 << power for power in range(largest.bit_length()) if 1 << power < largest), largest)


def parse_timesteps(text: str) -> tuple[int, ...]:
    """The timesteps in `text`, in the order written; a range such as `1-4` holds both its ends.

    Raises:
        InputError: there is none, one is no number, out of range, or given twice.
    """
    found: list[int] = []
    for entry in text.split(","):
        found += _entry(entry.strip(), text)
    for timesteps in found:
        check_timesteps(timesteps)
        if found.count(timesteps) > 1:
            raise InputError(f"timesteps {text!r} name {timesteps} twice. Name each once.")
    return tuple(found)


def _entry(entry: str, text: str) -> list[int]:
    first, separator, last = (part.strip() for part in entry.partition("-"))
    ends = (first, last) if separator else (first,)
    if not all(end.isascii() and end.isdigit() for end in ends):
        raise InputError(f"timesteps {text!r} hold {entry!r}, which is neither a T nor a range. {_FORM}")
    low, high = check_timesteps(int(ends[0])), check_timesteps(int(ends[-1]))
    if low > high:
        raise InputError(f"timesteps {text!r} hold the range {entry!r}, which runs backwards. {_FORM}")
    return list(range(low, high + 1))
