"""The names of points in a plot keep clear of each other, of the points and of their bars."""

from __future__ import annotations

from itertools import combinations

from tks_edge_runtime.reporting.labels import Box, place

FRAME = Box(0, 0, 300, 200)
SIZE = 10.0


def boxes(points: list[tuple[float, float]], obstacles: list[Box]) -> list[Box]:
    offsets = place(points, ["T=8"] * len(points), SIZE, FRAME, obstacles)
    return [around(point, offset) for point, offset in zip(points, offsets, strict=True) if offset is not None]


def around(point: tuple[float, float], offset: tuple[float, float]) -> Box:
    (x, y), (dx, dy) = point, offset
    return Box(x + dx - 9, y + dy - 6, x + dx + 9, y + dy + 6)


def test_names_of_points_close_together_do_not_touch() -> None:
    points = [(150 + 5.0 * index, 100 + 3.0 * (index % 3)) for index in range(9)]
    found = boxes(points, [])
    assert all(one.overlap(other) == 0 for one, other in combinations(found, 2))
    assert all(box.outside(FRAME) == 0 for box in found)


def test_a_name_leaves_the_bar_of_a_point_free() -> None:
    bars = [Box(100, 99, 200, 101), Box(108, 101, 112, 180)]
    (box,) = boxes([(100, 100)], bars)
    assert all(box.overlap(bar) == 0 for bar in bars)


def test_of_too_many_names_some_are_left_out_and_none_touches_another() -> None:
    points = [(150.0 + index % 8, 100.0 + index // 8) for index in range(64)]
    offsets = place(points, ["T=8"] * 64, SIZE, FRAME, optional=True)
    found = [around(point, offset) for point, offset in zip(points, offsets, strict=True) if offset is not None]
    assert 4 <= len(found) < 64
    assert all(one.overlap(other) == 0 for one, other in combinations(found, 2))
    assert None not in place(points, ["T=8"] * 64, SIZE, FRAME)
