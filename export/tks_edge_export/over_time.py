"""A value of the network at all T timesteps, in whichever form a node needs it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import onnx_ir as ir

from tks_edge_export.errors import ExportError
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.values import static_shape


class OverTime:
    """A value at T timesteps: `still` (one that never changes), one a step, or all of them merged along an axis.

    A form that is not there yet is made of another when it is asked for, once: merged by a concatenation, steps by
    cutting what is merged. Build one with `of_still`, `of_steps` or `of_merged`.
    """

    def __init__(self, builder: GraphBuilder, timesteps: int, name: str) -> None:
        self._builder = builder
        self.timesteps = timesteps
        self._name = name
        self._still: ir.Value | None = None
        self._steps: list[ir.Value] | None = None
        self._merged: dict[int, ir.Value] = {}

    @classmethod
    def of_still(cls, builder: GraphBuilder, timesteps: int, value: ir.Value) -> OverTime:
        """The same value at every step."""
        new = cls(builder, timesteps, str(value.name))
        new._still, new._steps = value, [value] * timesteps
        return new

    @classmethod
    def of_steps(cls, builder: GraphBuilder, values: Sequence[ir.Value], name: str) -> OverTime:
        """One value a step, each `[N, ...]`."""
        new = cls(builder, len(values), name)
        new._steps = list(values)
        return new

    @classmethod
    def of_merged(cls, builder: GraphBuilder, timesteps: int, value: ir.Value, axis: int = 0) -> OverTime:
        """All steps in one value, the first step first along `axis`: `[T * N, ...]` for axis 0."""
        new = cls(builder, timesteps, str(value.name))
        new._merged[axis] = value
        if timesteps == 1:
            new._steps = [value]
        return new

    @property
    def still(self) -> ir.Value | None:
        """The value that is the same at every step, or None where it changes."""
        return self._still

    @property
    def axis(self) -> int:
        """The axis along which the steps are merged; 0 where they are not."""
        return next(iter(self._merged), 0)

    def steps(self) -> list[ir.Value]:
        """One value a step, `[N, ...]` each."""
        if self._steps is None:
            if not self._merged:
                raise ExportError(f"{self._name} has no value; this is a fault in tks-edge.")
            self._steps = self._cut(self._merged[self.axis], self.axis)
        return self._steps

    def merged(self, axis: int = 0) -> ir.Value:
        """All steps in one value, along `axis`: `[T * N, ...]` for axis 0."""
        if self.timesteps == 1:
            return self.steps()[0]
        if axis not in self._merged:
            self._merged[axis] = self._joined(self.steps(), axis)
        return self._merged[axis]

    def _cut(self, value: ir.Value, axis: int) -> list[ir.Value]:
        if axis == 0:
            return self._builder.split(value, self.timesteps, self._name)
        shape = list(static_shape(value) or ())
        shape[axis] //= self.timesteps
        integers = self._builder.integers
        bounds = [integers([t * shape[axis]]) for t in range(self.timesteps + 1)]
        return [
            self._builder.shaped("Slice", [value, start, stop, integers([axis])], f"{self._name}.t{t}", shape)
            for t, (start, stop) in enumerate(pairwise(bounds))
        ]

    def _joined(self, steps: Sequence[ir.Value], axis: int) -> ir.Value:
        if axis == 0:
            return self._builder.concatenate(steps, f"{self._name}.merged")
        name = f"{self._name}.merged{axis}"
        shape = merged_shape(steps[0], self.timesteps, axis)
        return self._builder.shaped("Concat", steps, name, shape, [ir.AttrInt64("axis", axis)])


def merged_shape(value: ir.Value, timesteps: int, axis: int = 0) -> tuple[int, ...]:
    """The shape of one timestep's `value` with T merged into `axis`: of `[N, ...]`, `[T * N, ...]` for axis 0."""
    shape = static_shape(value)
    if not shape:
        raise ExportError(f"{value.name} has no static shape; export with images of one size.")
    return (*shape[:axis], timesteps * shape[axis], *shape[axis + 1 :])
