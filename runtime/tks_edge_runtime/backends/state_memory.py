"""Where a stepper keeps the states of its graph: three memories, of which two take turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Memory = TypeVar("Memory")


class StateMemory(Generic[Memory]):
    """Three memories for all states, and which of them the next step reads and writes.

    The first step reads its states from memory that no step writes to, and writes memory A; the next reads A and writes
    B, then B and A take turns. What is bound for each of the three ways stays bound: between two steps there is nothing
    to copy, and what a device recorded finds its addresses again.

    Args:
        make: makes room for all states once; called three times.

    Attributes:
        start: what the first step reads.
        ways: (read, written) of each of the three ways to run a step.
        next: the index in `ways` of the next step.
    """

    def __init__(self, make: Callable[[], Memory]) -> None:
        self.start, a, b = make(), make(), make()
        self.ways = ((self.start, a), (a, b), (b, a))
        self.next = 0

    @property
    def read(self) -> Memory | None:
        """What the next step reads, where that is A or B; None where it is the first."""
        return None if self.next == 0 else self.ways[self.next][0]

    def advance(self) -> None:
        """A step was run."""
        self.next = 2 if self.next == 1 else 1

    def reset(self) -> None:
        """Start again from the states of the first step."""
        self.next = 0
