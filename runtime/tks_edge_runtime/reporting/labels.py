"""Where the names of points go in a plot, so that they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    size: float,
    frame: Box,
    obstacles: Iterable[Box] = (),
    *,
    optional: bool = False,
) -> list[tuple[float, float] | None]:
    """The offset of each text's centre from its point, in points, chosen one by one to overlap least.

    Args:
        points: positions on the page, in points.
        texts: one line for each.
        size: font size in points.
        frame: the rectangle that texts should stay within.
        obstacles: what else they should not cover.
        optional: a text that finds no place where it touches no other text has none (None), instead of its best one.
    """
    taken = np.array([*(Box(x - 5, y - 5, x + 5, y + 5) for x, y in points), *obstacles]).reshape(-1, 4)
    placed: list[Box] = []
    offsets: list[tuple[float, float] | None] = []
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
        outside = [10 * box.outside(frame) + _FAR * (index // len(_SIDES)) for index, box in enumerate(boxes)]
        costs = _covered(np.array(boxes), np.concatenate([taken, np.array(placed).reshape(-1, 4)])) + outside
        free = [index for index, box in enumerate(boxes) if not any(box.overlap(other) for other in placed)]
        among = free if optional else range(len(boxes))
        best = min(among, key=costs.__getitem__, default=None)
        offsets.append(None if best is None else candidates[best])
        if best is not None:
            placed.append(boxes[best])
    return offsets


def _covered(boxes: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The area of each of `boxes` [N, 4] that `others` [M, 4] cover, what two cover counted twice; [N]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    covered: npt.NDArray[np.float64] = np.maximum(high - low, 0.0).prod(axis=2).sum(axis=1)
    return covered
