"""A node of one timestep whose operands come with T timesteps joined along an axis, and what becomes of its outputs."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from tks_edge_export.values import array_of, integer

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Merging:
    """T timesteps of a node as one node.

    Attributes:
        inputs: the axis along which the timesteps of each operand are joined; None where all share it as it is.
        outputs: the axis along which those of each output come out joined.
        target: the operand that holds the output's shape, which T makes larger; None where there is none.
    """

    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    target: int | None = None


@dataclass(frozen=True)
class Operands:
    """A node with the shapes of one timestep, and the axis along which each operand comes joined, or None if still."""

    node: ir.Node
    axes: tuple[int | None, ...]
    shapes: tuple[Shape | None, ...]
    outputs: tuple[Shape, ...]

    @property
    def output(self) -> Shape:
        """The shape of the first output."""
        return self.outputs[0]

    def attribute(self, name: str, default: int) -> int:
        """An integer attribute."""
        return integer(self.node, name, default)

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        return self.node.attributes[name].as_string() if name in self.node.attributes else default

    def numbers(self, index: int) -> list[float] | None:
        """The elements of a constant operand; None where it is missing or no constant."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        array = array_of(value)
        return None if array is None else array.reshape(-1).tolist()

    def rank(self, index: int = 0) -> int:
        """How many axes an operand has."""
        return len(self.shapes[index] or ())

    def has(self, index: int) -> bool:
        """Whether an optional operand is given."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def only_joined(self) -> int | None:
        """The index of the operand that comes joined; None where there are several."""
        joined = [index for index, axis in enumerate(self.axes) if axis is not None]
        return joined[0] if len(joined) == 1 else None

    def joined_in_output(self) -> int | None:
        """The axis of the output that all joined operands broadcast theirs to; None where they disagree."""
        shift = len(self.output)
        axes = {axis + shift - self.rank(index) for index, axis in enumerate(self.axes) if axis is not None}
        return axes.pop() if len(axes) == 1 and min(axes) >= 0 else None
