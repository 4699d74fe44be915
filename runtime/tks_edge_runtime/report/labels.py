"""Where the names of points go in a plot, so that they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_CHARACTER, _LINE, _GAP = 0.62, 1.25, 7.0
_REACH, _FAR = 5, 30.0
"""How many places there are on each side, one above the other, and what each step away costs, in overlap (area)."""
_SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1.4), (0, -1.4))


class Box(NamedTuple):
    """A rectangle by its left, bottom, right and top edge, in points (1/72 inch)."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """The area shared with another rectangle."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, frame: Box) -> float:
        """The area that lies outside `frame`."""
        return (self.right - self.left) * (self.top - self.bottom) - self.overlap(frame)


def place(
    points: Sequence[tuple[float, float]], texts: Sequence[str], size: float, frame: Box, obstacles: Iterable[Box] = ()
) -> list[tuple[float, float]]:
    """The offset of each text's centre from its point, in points, chosen one by one to overlap least.

    Args:
        points: positions on the page, in points.
        texts: one line for each.
        size: font size in points.
        frame: the rectangle that texts should stay within.
        obstacles: what else they should not cover.
    """
    taken = [*(Box(x - 5, y - 5, x + 5, y + 5) for x, y in points), *obstacles]
    offsets = []
    for (x, y), text in zip(points, texts, strict=True):
        width, height = len(text) * size * _CHARACTER, size * _LINE
        candidates = [
            (side * (width / 2 + _GAP), level * (height / 2 + _GAP / 2 if side else height) + level * reach * height)
            for reach in range(_REACH)
            for side, level in _SIDES
        ]
        boxes = [
            Box(x + dx - width / 2, y + dy - height / 2, x + dx + width / 2, y + dy + height / 2)
            for dx, dy in candidates
        ]
        costs = [
            sum(box.overlap(other) for other in taken) + 10 * box.outside(frame) + _FAR * (index // len(_SIDES))
            for index, box in enumerate(boxes)
        ]
        best = min(range(len(boxes)), key=costs.__getitem__)
        taken.append(boxes[best])
        offsets.append(candidates[best])
    return offsets
