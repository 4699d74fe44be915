"""Functions that only arrange timesteps: to a graph of one timestep their output is their input."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tks_edge_export.adoption.layer import MERGED, ONE_STEP, TIME_FIRST, TIME_SECOND
from tks_edge_export.adoption.recording import Call

_READOUT = frozenset({"mean", "sum"})
_RESHAPES = frozenset({"flatten", "reshape", "view", "unflatten"})
_SWAPS = frozenset({"transpose", "permute", "swapaxes", "movedim"})
_REPEATS = frozenset({"repeat", "expand", "repeat_interleave", "tile"})


@dataclass(frozen=True)
class Sequence:
    """How a run is over time: T timesteps of B samples, with the time axis where its neurons take it."""

    axes: str
    timesteps: int
    batch: int

    @classmethod
    def of(cls, axes: str, shape: tuple[int, ...]) -> Sequence | None:
        """That of a value of this shape."""
        if len(shape) < 2:
            return None
        timesteps, batch = shape[:2] if axes == TIME_FIRST else shape[1::-1]
        return cls(axes, timesteps, batch)

    @classmethod
    def of_merged(cls, size: int, batch: int | None, timesteps: int | None) -> Sequence | None:
        """That of values whose first axis, of this size, is B times T, batch first; one of both is told."""
        batch = batch or size // (timesteps or 1)
        if not batch:
            return None
        timesteps = size // batch
        return cls(TIME_SECOND, timesteps, batch) if batch * timesteps == size else None

    def frames(self, x: Tensor, axes: str) -> Tensor:
        """A value with these leading axes as `[T, B, ...]`."""
        if axes == MERGED:
            x = x.reshape(*self.leading(self.axes), *x.shape[1:])
        return x.transpose(0, 1) if self.axes == TIME_SECOND else x

    def leading(self, axes: str) -> tuple[int, ...]:
        """The sizes of the leading axes of such a value."""
        return {
            ONE_STEP: (self.batch,),
            TIME_FIRST: (self.timesteps, self.batch),
            TIME_SECOND: (self.batch, self.timesteps),
            MERGED: (self.timesteps * self.batch,),
        }[axes]


def repeated(call: Call, axes: str, wanted: str) -> str | None:
    """The axes of what shows one timestep several times, or gives it a time axis to be repeated along."""
    shape, result = call.inputs[0].shape, call.outputs[0].shape
    place = 0 if wanted == TIME_FIRST else 1
    if axes == ONE_STEP:
        gives_axis = call.target in ("unsqueeze", "__getitem__") and result == (*shape[:place], 1, *shape[place:])
        is_listed = call.target == "stack" and call.options.get("dim", (*call.arguments[1:], 0)[0]) == place
        in_one = call.target in _REPEATS and result[:place] + result[place + 1 :] == shape
        return wanted if gives_axis or in_one or (is_listed and len(set(call.inputs)) == 1) else None
    if axes == wanted and call.target in _REPEATS and shape[place] == 1:
        return wanted if result[:place] + result[place + 1 :] == shape[:place] + shape[place + 1 :] else None
    return None


def rearranged(call: Call, axes: str, sequence: Sequence) -> str | None:
    """The axes of what only moves, merges or parts time and batch, or averages over time; None of another call."""
    shape, result = call.inputs[0].shape, call.outputs[0].shape
    sample = shape[len(sequence.leading(axes)) :]
    if call.target in _RESHAPES:
        if axes == MERGED and result == (*sequence.leading(sequence.axes), *sample):
            return sequence.axes
        if axes == sequence.axes and result == (*sequence.leading(MERGED), *sample):
            return MERGED
    if call.target in _SWAPS and axes in (TIME_FIRST, TIME_SECOND):
        other = TIME_SECOND if axes == TIME_FIRST else TIME_FIRST
        if result == (*sequence.leading(other), *sample):
            return other
    if call.target in _READOUT and axes in (TIME_FIRST, TIME_SECOND):
        given = call.options.get("dim", call.arguments[1] if len(call.arguments) > 1 else None)
        place = axes.index("T")
        if given in (place, (place,), [place]) and result == (*sequence.leading(ONE_STEP), *sample):
            return ONE_STEP
    return None
