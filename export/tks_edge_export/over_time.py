"""A value of the network at all T timesteps, in whichever form a node needs it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from tks_edge_export.errors import ExportError
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.values import static_shape


class OverTime:
    """A value at T timesteps: `still` (one that never changes), one a step, or `merged` into the batch axis.

    A form that is not there yet is made of another when it is asked for, once: merged by a concatenation along axis 0,
    steps by a split. Build one with `of_still`, `of_steps` or `of_merged`.
    """

    def __init__(self, builder: GraphBuilder, timesteps: int, name: str) -> None:
        self._builder = builder
        self.timesteps = timesteps
        self._name = name
        self._still: ir.Value | None = None
        self._steps: list[ir.Value] | None = None
        self._merged: ir.Value | None = None

    @classmethod
    def of_still(cls, builder: GraphBuilder, timesteps: int, value: ir.Value) -> OverTime:
        """The same value at every step."""
        new = cls(builder, timesteps, str(value.name))
        new._still, new._steps = value, [value] * timesteps
        if timesteps == 1:
            new._merged = value
        return new

    @classmethod
    def of_steps(cls, builder: GraphBuilder, values: Sequence[ir.Value], name: str) -> OverTime:
        """One value a step, each `[N, ...]`."""
        new = cls(builder, len(values), name)
        new._steps = list(values)
        if len(values) == 1:
            new._merged = values[0]
        return new

    @classmethod
    def of_merged(cls, builder: GraphBuilder, timesteps: int, value: ir.Value) -> OverTime:
        """All steps in one value, `[T * N, ...]`, the first step's samples first."""
        new = cls(builder, timesteps, str(value.name))
        new._merged = value
        if timesteps == 1:
            new._steps = [value]
        return new

    @property
    def still(self) -> ir.Value | None:
        """The value that is the same at every step, or None where it changes."""
        return self._still

    def steps(self) -> list[ir.Value]:
        """One value a step, `[N, ...]` each."""
        if self._steps is None:
            if self._merged is None:
                raise ExportError(f"{self._name} has no value; this is a fault in tks-edge.")
            self._steps = self._builder.split(self._merged, self.timesteps, self._name)
        return self._steps

    def merged(self) -> ir.Value:
        """All steps in one value, `[T * N, ...]`."""
        if self._merged is None:
            self._merged = self._builder.concatenate(self.steps(), f"{self._name}.merged")
        return self._merged


def merged_shape(value: ir.Value, timesteps: int) -> tuple[int, ...]:
    """The shape of one timestep's `value`, `[N, ...]`, with T merged into the batch: `[T * N, ...]`."""
    shape = static_shape(value)
    if not shape:
        raise ExportError(f"{value.name} has no static shape; export with images of one size.")
    return (timesteps * shape[0], *shape[1:])
