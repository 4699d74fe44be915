"""Which rows of a plot belong together, and the colour and marker that they are told by.

A colour of the palette stands for a network in one precision, a marker for its form, target and CUDA graph; where there
is but one of these, each colour has a marker of its own. The ReLU twins share a colour, and each has its own marker and
line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

from tks_edge_runtime.artifact import STATIC
from tks_edge_runtime.reporting import palette
from tks_edge_runtime.reporting.ranking import lowered
from tks_edge_runtime.reporting.row import Row

_MARKERS = "os^vPX<>"
_TWIN_MARKERS = "DdpH*8"
_TWIN_LINES = ((0, (4, 2)), (0, (1, 1.5)), (0, (7, 2, 1.5, 2)), (0, (2, 3)), (0, (9, 2)), (0, (4, 2, 1, 2, 1, 2)))
_LONGEST_NAME = 16


class _Style(NamedTuple):
    colour: str
    marker: str
    line: Any


@dataclass(frozen=True)
class Series:
    """The rows of one network, precision, form and target, sorted by T, and how they are drawn.

    `network` is what the colour stands for, the network in its precision, and `kind` what the marker stands for, form,
    target and how it is run. `line` is a line style of matplotlib.
    """

    label: str
    network: str
    kind: str
    colour: str
    marker: str
    line: Any
    rows: tuple[Row, ...]

    @property
    def is_twin(self) -> bool:
        """Whether it is a ReLU twin."""
        return self.rows[0].is_twin


def series_of(rows: Sequence[Row]) -> Iterator[Series]:
    """The series in the order of their first rows, the twins last; no two look the same while the markers suffice."""
    grouped: dict[tuple[str, bool, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.name, row.is_twin, row.variant), []).append(row)
    spiking, twins = ([g for g in grouped.values() if g[0].is_twin == wanted] for wanted in (False, True))
    twin_styles = (_Style(palette.TWIN, *style) for style in zip(cycle(_TWIN_MARKERS), cycle(_TWIN_LINES)))
    styles = (*_spiking_styles([group[0] for group in spiking]), *(next(twin_styles) for _ in twins))
    for group, style in zip((*spiking, *twins), styles, strict=True):
        first = group[0]
        label = f"{_short(first.name)} {first.variant}{' (ReLU twin)' if first.is_twin else ''}"
        network, kind = f"{_short(first.name)} {first.precision}", first.variant.removeprefix(first.precision).strip()
        yield Series(label, network, kind or STATIC, *style, tuple(sorted(group, key=lambda row: row.timesteps)))


def _spiking_styles(firsts: Sequence[Row]) -> Iterator[_Style]:
    """The style of each series, given by its first row."""
    networks = list(dict.fromkeys((row.name, row.precision) for row in firsts))
    kinds = list(dict.fromkeys(_kind(row) for row in firsts))
    for row in firsts:
        network, kind = networks.index((row.name, row.precision)), kinds.index(_kind(row))
        # When the colours begin anew, the markers go on.
        turn = network if len(kinds) == 1 else network // len(palette.SERIES) * len(kinds)
        colour, marker = palette.SERIES[network % len(palette.SERIES)], _MARKERS[(kind + turn) % len(_MARKERS)]
        yield _Style(colour, marker, "-")


def _kind(row: Row) -> tuple[object, ...]:
    return lowered(row), row.early_exit is not None


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
