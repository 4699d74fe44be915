"""Membranes as 8-bit codes, for an engine that convolves integers only into integers.

A potential x is held as code = round(x / scale) + zero, 0 to 255, with scale = threshold / (127.5 - zero): the
threshold lies on the border between 127 and 128, so a neuron fires where the highest bit of its code is set, and the
spike is that bit. Step for step, with every operation rounded to a code and cut off at 0 and 255:

    h = round(d v + c)      fires = h >> 7      v = h (1 - fires), or h - jump fires      in steps, without zero

where the jump of a soft reset is 128 - zero, or what the neuron subtracts instead of its threshold, in whole steps.

`zero` decides between range and resolution: potentials down to -zero x scale are told apart. It is even, so that a sum
of halves is rounded the same way whether the zero is added before or after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tks_edge_models import LIF, LIFParameters
from tks_edge_models.neuron import State

LARGEST = 255
_HIGHEST = 128
"""The least code whose highest bit is set."""
_SMALLEST = 2.0**-100
"""Stands in for a range of nothing."""


@dataclass(frozen=True)
class Code:
    """How 8 bits hold a number: `code = round(x / scale) + zero`, in uint8 or, `signed`, in int8."""

    scale: float
    zero: int
    signed: bool = False

    @classmethod
    def of_membrane(cls, threshold: float, zero: int) -> Code:
        """The code whose highest bit is set from `threshold` on; `zero` is even, and at most 126."""
        return cls(threshold / (_HIGHEST - 0.5 - zero), zero)

    @classmethod
    def of_range(cls, low: float, high: float, *, signed: bool = False) -> Code:
        """The finest code that holds `low` to `high`, and 0 exactly; a signed one has its zero at 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        if signed:
            return cls(max(-low, high, _SMALLEST) / 127, 0, signed=True)
        scale = max(high - low, _SMALLEST) / LARGEST
        return cls(scale, round(-low / scale))

    @property
    def dtype(self) -> str:
        """NumPy dtype name of the codes."""
        return "int8" if self.signed else "uint8"

    def encode(self, x: Tensor) -> Tensor:
        """The codes of `x`, as float32 whole numbers."""
        # In float32, as an engine divides.
        scale = torch.tensor(self.scale, dtype=torch.float32)
        low = -128 if self.signed else 0
        return torch.clamp(torch.round(x / scale) + self.zero, low, low + LARGEST)

    def decode(self, codes: Tensor) -> Tensor:
        """The numbers that `codes` stand for."""
        return (codes - self.zero) * torch.tensor(self.scale, dtype=torch.float32)


@dataclass(frozen=True)
class Calibration:
    """What was found on the calibration samples, by module path.

    Attributes:
        inputs: the code of a layer's input, where 8 bits do not hold it exactly.
        currents: the code of a layer's output, where it is added to another one.
        zeros: the code of 0 in a LIF layer's membrane.
    """

    inputs: Mapping[str, Code] = field(default_factory=dict)
    currents: Mapping[str, Code] = field(default_factory=dict)
    zeros: Mapping[str, int] = field(default_factory=dict)


class CodedLIF(LIF):
    """A LIF layer that computes as 8-bit codes do; currents `[T, B, ...]` in, spikes out.

    Args:
        params: normalised: at rest at 0, with its input unscaled.
        zero: the code of 0.
    """

    def __init__(self, params: LIFParameters, zero: int) -> None:
        super().__init__(params)
        self.code = Code.of_membrane(params.v_threshold, zero)

    @property
    def threshold(self) -> int:
        """The least potential that fires, in steps of the code: the threshold, rounded up by half a step."""
        return _HIGHEST - self.code.zero

    @property
    def jump(self) -> int:
        """What a soft reset subtracts, in steps of the code."""
        return jump_in_steps(self.params, self.code)

    def charge(self, x: Tensor, v: Tensor | None) -> Tensor:
        """The potential after the input, before the reset, in steps of the code; the state `v` likewise."""
        current = self.code.encode(x) - self.code.zero
        return current if v is None else self._cut(torch.round(v * self.params.decay + current))

    def advance(self, x: Tensor, state: State | None, decide: Callable[[Tensor], Tensor]) -> tuple[Tensor, State]:
        """One timestep from a state in steps of the code, None at rest, with the spikes that `decide` gives."""
        h = self.charge(x, None if state is None else state[0])
        spikes = decide(h)
        return spikes, (self.reset(h, spikes),)

    def fires(self, h: Tensor) -> Tensor:
        """Where the neuron fires, as bool."""
        return h >= self.threshold

    def reset(self, h: Tensor, spikes: Tensor) -> Tensor:
        """The potential after the spikes."""
        return h - self.jump * spikes if self.params.v_reset is None else h * (1.0 - spikes)

    def distance(self, h: Tensor) -> Tensor:
        """How far the potentials are from the threshold, in units of the current."""
        return (h - (self.threshold - 0.5)).abs() * self.code.scale

    def tolerance(self, h: Tensor) -> float:  # noqa: ARG002
        """How far a borderline potential may be: two codes, since each of two sums may round a near tie otherwise."""
        return 2.0 * self.code.scale

    def _cut(self, steps: Tensor) -> Tensor:
        return torch.clamp(steps, -self.code.zero, LARGEST - self.code.zero)

    def forward(self, x: Tensor) -> Tensor:
        """Run all timesteps, from rest."""
        state: State | None = None
        outputs = []
        for current in x.unbind(0):
            spikes, state = self.advance(current, state, lambda h: self.fires(h).to(h.dtype))
            outputs.append(spikes)
        return torch.stack(outputs)


def jump_in_steps(params: LIFParameters, code: Code) -> int:
    """What a soft reset subtracts from a membrane, in steps of its code."""
    return _HIGHEST - code.zero if params.v_jump is None else round(params.v_jump / code.scale)
