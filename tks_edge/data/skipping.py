"""Samples that could not be read and were left out, counted and named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_SHOWN = 5


@dataclass
class Skipped:
    """What could not be read, over as many passes over the data as it is given to.

    Attributes:
        reasons: what was wrong, by the name of the sample, in the order in which they were met.
    """

    reasons: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reasons)

    def __str__(self) -> str:
        first = ", ".join(list(self.reasons)[:_SHOWN])
        more = ", ..." if len(self) > _SHOWN else ""
        noun = "sample" if len(self) == 1 else "samples"
        return f"{len(self):,} {noun} could not be read and left out: {first}{more}"

    def add(self, name: str, reason: str) -> bool:
        """Take down a sample; whether it is a new one."""
        new = name not in self.reasons
        self.reasons.setdefault(name, reason)
        return new

    def to_json(self) -> dict[str, Any]:
        """How many, and each by its name."""
        return {"samples": len(self), "names": list(self.reasons)}
