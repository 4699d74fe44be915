"""Which values of a graph are whole multiples of a step, and how large they get: what int8 can hold without rounding.

A spike is 0 or 1. Sums, products, poolings and concatenations of spikes are whole multiples of a step too, within
bounds that follow from the graph alone, so an integer of 8 bits may hold them exactly, whatever the input. The analysis
is interval arithmetic on the multiples, forward through the graph; a value that it knows nothing about has no grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import onnx_ir as ir

from tks_edge_export.capture import is_lif
from tks_edge_export.lif_steps import is_spikes
from tks_edge_export.values import integer, static_shape


@dataclass(frozen=True)
class Grid:
    """The values `step * n` for whole `low <= n <= high`."""

    step: Fraction
    low: int
    high: int

    @property
    def is_dyadic(self) -> bool:
        """Whether the step is a whole number over a power of two, so that floats hold its multiples."""
        return self.step.denominator & (self.step.denominator - 1) == 0

    def on(self, step: Fraction) -> Grid:
        """The same values as multiples of a finer step."""
        factor = self.step / step
        return Grid(step, int(self.low * factor), int(self.high * factor))


SPIKES = Grid(Fraction(1), 0, 1)
_SAME = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Slice", "Split", "Gather", "Expand"}
    | {"MaxPool", "GlobalMaxPool", "DepthToSpace", "SpaceToDepth"}
)
Grids = dict[ir.Value, Grid]


def grids(graph: ir.Graph) -> Grids:
    """The grid of every value that has one; LIF layers may be nodes of their own or laid out."""
    found: Grids = {}
    for node in graph:
        grid = SPIKES if is_lif(node) else _grid(node, found)
        for output in node.outputs:
            if is_spikes(output.name):
                found[output] = SPIKES
            elif grid is not None:
                found[output] = grid
    return found


def _grid(node: ir.Node, found: Grids) -> Grid | None:
    if node.domain != "" or not node.inputs or node.inputs[0] is None:
        return None
    if node.op_type in _SAME:
        return found.get(node.inputs[0])
    return _RULES[node.op_type](node, found) if node.op_type in _RULES else None


def _operands(node: ir.Node, found: Grids) -> list[Grid] | None:
    """The operands on their common step; a constant scalar counts as one value."""
    operands = [found.get(value) or _of_constant(value) for value in node.inputs if value is not None]
    known = [grid for grid in operands if grid is not None]
    return known if len(known) == len(operands) else None


def _of_constant(value: ir.Value) -> Grid | None:
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1 or not tensor.dtype.is_floating_point():
        return None
    number = float(tensor.numpy().item())
    if not math.isfinite(number) or not number:
        return None
    sign = 1 if number > 0 else -1
    # Any float is a fraction, but only powers of two give a grid that is worth the name.
    return Grid(abs(Fraction(number)), sign, sign) if abs(math.frexp(number)[0]) == 0.5 else None


def _common(grids: list[Grid]) -> list[Grid]:
    denominator = math.lcm(*(grid.step.denominator for grid in grids))
    step = Fraction(math.gcd(*(int(grid.step * denominator) for grid in grids)), denominator)
    return [grid.on(step) for grid in grids]


def _sum(node: ir.Node, found: Grids) -> Grid | None:
    operands = _operands(node, found)
    if operands is None:
        return None
    first, second = _common(operands)
    if node.op_type == "Sub":
        second = Grid(second.step, -second.high, -second.low)
    return Grid(first.step, first.low + second.low, first.high + second.high)


def _product(node: ir.Node, found: Grids) -> Grid | None:
    operands = _operands(node, found)
    return None if operands is None else _times(operands[0], operands[1], 1)


def _times(first: Grid, second: Grid, terms: int) -> Grid:
    corners = [a * b for a in (first.low, first.high) for b in (second.low, second.high)]
    return Grid(first.step * second.step, terms * min(corners), terms * max(corners))


def _matmul(node: ir.Node, found: Grids) -> Grid | None:
    first, second = (found.get(value) for value in node.inputs if value is not None)
    shape = static_shape(node.inputs[0])
    return None if first is None or second is None or not shape else _times(first, second, shape[-1])


def _concat(node: ir.Node, found: Grids) -> Grid | None:
    parts = [found.get(value) for value in node.inputs if value is not None]
    known = _common([part for part in parts if part is not None]) if all(parts) else []
    return Grid(known[0].step, min(p.low for p in known), max(p.high for p in known)) if known else None


def _relu(node: ir.Node, found: Grids) -> Grid | None:
    grid = found.get(node.inputs[0]) if node.inputs[0] is not None else None
    return None if grid is None else Grid(grid.step, max(0, grid.low), max(0, grid.high))


def _mean(node: ir.Node, found: Grids) -> Grid | None:
    """The mean of `count` values is a sum on a step that is `count` times finer."""
    count, grid = _averaged(node), found.get(node.inputs[0]) if node.inputs[0] is not None else None
    if grid is None or count is None:
        return None
    # Padding brings zeros.
    low, high = (min(0, grid.low), max(0, grid.high)) if _is_padded(node) else (grid.low, grid.high)
    return Grid(grid.step / count, low * count, high * count)


def _total(node: ir.Node, found: Grids) -> Grid | None:
    """The sum of the values along some axes."""
    count, grid = _averaged(node), found.get(node.inputs[0]) if node.inputs[0] is not None else None
    return None if grid is None or count is None else Grid(grid.step, grid.low * count, grid.high * count)


def _is_padded(node: ir.Node) -> bool:
    return "auto_pad" in node.attributes or ("pads" in node.attributes and any(node.attributes["pads"].as_ints()))


def _averaged(node: ir.Node) -> int | None:
    """How many values a pooling or a reduction takes together, or None where that differs from place to place."""
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None:
        return None
    if node.op_type != "AveragePool":
        return math.prod(before) // math.prod(after)
    if integer(node, "ceil_mode") or (_is_padded(node) and not integer(node, "count_include_pad")):
        return None
    return math.prod(node.attributes["kernel_shape"].as_ints())


_RULES: dict[str, Callable[[ir.Node, Grids], Grid | None]] = {
    "Add": _sum,
    "Sub": _sum,
    "Mul": _product,
    "MatMul": _matmul,
    "Concat": _concat,
    "Relu": _relu,
    "AveragePool": _mean,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "ReduceSum": _total,
}
