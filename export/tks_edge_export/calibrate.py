"""What a lower precision has to know of the data: how large the values get that no analysis of the graph bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tks_edge_export.codes import Calibration, Code, CodedLIF
from tks_edge_export.errors import ExportError
from tks_edge_export.reference import Reference
from tks_edge_export.replay import Replayed
from tks_edge_export.values import Array
from tks_edge_models import LIF, LIFParameters, Network

_ZEROS = (16, 32, 48, 64, 72, 80, 88, 96, 100, 104, 108, 112, 116, 120)
"""The codes of 0 that are tried: from a range of 0.14 thresholds below rest to 16, ever more coarsely."""
_OBSERVED = 4096
"""How many neurons of a layer are looked at in a batch."""


@dataclass(frozen=True)
class Wanted:
    """What is looked at, by module path.

    Attributes:
        inputs: layers whose input 8 bits do not hold exactly.
        outputs: layers whose output is added to another one; the module that gives it, a norm perhaps, for each.
        neurons: LIF layers whose membrane becomes a code, with their normalised constants.
        signed: whether inputs are held in int8 rather than in uint8.
    """

    inputs: Sequence[str]
    outputs: Mapping[str, str]
    neurons: Mapping[str, LIFParameters]
    signed: bool

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs or self.neurons)


def calibrate(
    network: nn.Module, batches: Iterable[Array], timesteps: int, wanted: Wanted, *, frames: bool
) -> Calibration:
    """Run the network on samples and look at what is wanted.

    Args:
        network: the trained one.
        batches: of samples, `[N, ...]`, or `[N, T, ...]` with `frames`.
        timesteps: T.
        wanted: where to look.
        frames: whether every timestep has an input of its own.

    Raises:
        ExportError: there are no samples.
    """
    running = Replayed(Reference(network), timesteps, frames=frames)
    inputs, outputs = {path: _Range() for path in wanted.inputs}, {path: _Range() for path in wanted.outputs}
    currents: dict[str, list[Tensor]] = {path: [] for path in wanted.neurons}
    module = running.network.get_submodule
    sequences = isinstance(running.network, Network)
    for path, found in inputs.items():
        module(path).register_forward_pre_hook(_look_at_input(found.widen))
    for path, found in outputs.items():
        module(wanted.outputs[path]).register_forward_hook(_look_at_output(found.widen))
    for path, kept in currents.items():
        module(path).register_forward_pre_hook(_look_at_input(_collect(kept, sequences=sequences)))
    seen = 0
    for batch in batches:
        running.run_freely(batch)
        seen += len(batch)
    if not seen:
        raise ExportError("there are no samples to calibrate with; hand in at least one.")
    return Calibration(
        {path: Code.of_range(found.low, found.high, signed=wanted.signed) for path, found in inputs.items()},
        {path: Code.of_range(found.low, found.high) for path, found in outputs.items()},
        {path: _best_zero(_by_step(currents[path], timesteps), params) for path, params in wanted.neurons.items()},
    )


class _Range:
    """The least and the largest value seen."""

    low = high = 0.0

    def widen(self, values: Tensor) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))


def _look_at_input(look: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _, arguments: look(arguments[0])


def _look_at_output(look: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda _, __, output: look(output)


def _collect(seen: list[Tensor], *, sequences: bool) -> Callable[[Tensor], None]:
    return lambda currents: seen.append(_thinned(currents, len(currents) if sequences else 1))


def _thinned(currents: Tensor, steps: int) -> Tensor:
    """Evenly spaced neurons of all samples, `[steps, n]`."""
    flat = currents.reshape(steps, -1)
    return flat[:, :: max(1, flat.shape[1] // _OBSERVED)].clone()


def _best_zero(currents: Tensor, params: LIFParameters) -> int:
    """The code of 0 with which the fewest spikes differ from those of the exact neuron; currents are `[T, n]`."""
    wanted = LIF(params)(currents)
    flips = {zero: int((CodedLIF(params, zero)(currents) != wanted).sum()) for zero in _ZEROS}
    return min(flips, key=lambda zero: flips[zero])


def _by_step(observed: list[Tensor], timesteps: int) -> Tensor:
    """What was seen batch by batch, all steps at once or one after the other, as `[T, n]`."""
    at_once = timesteps // len(observed[0])
    batches = [torch.cat(observed[start : start + at_once]) for start in range(0, len(observed), at_once)]
    return torch.cat(batches, dim=1)
