"""Samples that could not be read and were left out, counted and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_NAMED = 5
"""How many are named one by one."""


@dataclass
class Skipped:
    """What could not be read, over as many passes over the data as it is given to.

    Attributes:
        announce: called with a sentence for each of the first few samples, as they are met.
        reasons: what was wrong, by the name of the sample, in the order in which they were met.
    """

    announce: Callable[[str], object] | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reasons)

    def __str__(self) -> str:
        first = ", ".join(list(self.reasons)[:_NAMED])
        more = ", ..." if len(self) > _NAMED else ""
        noun = "sample" if len(self) == 1 else "samples"
        return f"{len(self):,} {noun} could not be read and were left out: {first}{more}"

    def add(self, name: str, reason: str) -> None:
        """Take down a sample, once, and what was wrong with it."""
        if name in self.reasons:
            return
        self.reasons[name] = reason
        if self.announce is not None and len(self) <= _NAMED:
            self.announce(f"left out: {reason}")
            if len(self) == _NAMED:
                self.announce("what else cannot be read is left out without a word, and counted")

    def to_json(self) -> dict[str, Any]:
        """How many, and each by its name."""
        return {"samples": len(self), "names": list(self.reasons)}
