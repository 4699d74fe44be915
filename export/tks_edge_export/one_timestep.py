"""Is one timestep the whole of a network? A graph is made of one, so nothing may look across time but LIF.

With its LIF layers stood in for by a function that differs from step to step, a network that runs several timesteps at
once must give what it gives for each of them alone, or, where it reads out itself, their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tks_edge_export.errors import ExportError
from tks_edge_export.probe import Probe, TimeAxisError, outputs_recorded
from tks_edge_export.statefulness import varied

_GAINS = (1.0, 3.0)
_STEPS = (0, 0, 1, 1)
"""Which of two timesteps is run alone and which of them four times at once: neurons of another kind, with any usual
threshold, gather something over two equal steps that they do not from one, and anything else tells 0 from 1."""
_TOLERANCE = 1e-3
"""Relative, of the root mean square. Convolutions of another batch round differently, and a jump such as that of `sign`
makes more of it; what looks across time changes outputs by far more."""


@dataclass(frozen=True)
class _Run:
    """An input, the T that it is shown for where `forward` is told, and the gain of the LIF layers at every step."""

    x: Tensor
    timesteps: int | None
    gains: Sequence[float]


def check_one_timestep(probe: Probe, x: Tensor) -> None:
    """Refuse a network that runs several timesteps when it is asked for one, or mixes timesteps outside LIF layers.

    Args:
        probe: the network, which has run on `x` last.
        x: its input.

    Raises:
        ExportError: names the module.
    """
    batch, currents = x.shape[0], dict(probe.currents)
    for path, shape in currents.items():
        if shape[0] not in (1, batch):
            raise ExportError(_several(probe, path, shape, batch))
    if batch > 1 and any(shape[:2] == (batch, batch) for shape in currents.values()):
        _check_batch_of(probe, x)
    if not currents:
        return
    gains = [_GAINS[step] for step in _STEPS]
    if probe.takes_timesteps:
        alone = [_Run(x, 1, [gain]) for gain in _GAINS]
        if _check_mixing(probe, alone, _Run(x, len(_STEPS), gains)):
            return
    if batch == 1 and all(shape[0] == 1 for shape in currents.values()):
        inputs = (x, varied(x))
        alone = [_Run(each, None, [gain]) for each, gain in zip(inputs, _GAINS, strict=True)]
        _check_mixing(probe, alone, _Run(torch.cat([inputs[step] for step in _STEPS]), None, gains))


def _several(probe: Probe, path: str, shape: Sequence[int], batch: int) -> str:
    return (
        f"{probe.name(path)} gets currents of shape {list(shape)} for a batch of {batch}: the network runs {shape[0]} "
        "timesteps by itself. Give its forward a parameter `timesteps`, or let it run one, [1, N, ...] or [N, ...]."
    )


def _check_batch_of(probe: Probe, x: Tensor) -> None:
    """Where the first axis of a current could be T as well as the batch, tell them apart by a batch of one more."""
    batch = x.shape[0]
    try:
        probe.run(torch.cat([x, x[:1]]))
    except ExportError:
        return
    for path, shape in probe.currents.items():
        if shape[:2] == (batch, batch + 1):
            raise ExportError(_several(probe, path, (batch, batch, *shape[2:]), batch))


def _check_mixing(probe: Probe, alone: Sequence[_Run], at_once: _Run) -> bool:
    """Compare several timesteps at once with each alone; returns whether the network runs several at all."""
    outputs = [_output(probe, run) for run in alone]
    try:
        together = _output(probe, at_once)
    except TimeAxisError:
        if at_once.timesteps is not None:
            raise
        return False
    except ExportError:
        return False
    if not _follows(together, outputs):
        raise ExportError(
            f"{probe.name(_first_mixing(probe, alone, at_once))} gives something else for several timesteps at once "
            "than for each alone. A graph is made of one timestep: only LIF layers may look across time, and forward "
            "gives the logits of every timestep, [T, N, K], or their mean."
        )
    return True


def _output(probe: Probe, run: _Run) -> object:
    return probe.run(run.x, timesteps=run.timesteps, gains=run.gains)


def _first_mixing(probe: Probe, alone: Sequence[_Run], at_once: _Run) -> str:
    """The path of the innermost module that is the first to mix; of the network where none of its modules does."""
    together, *singles = [_recorded(probe, run) for run in (at_once, *alone)]
    for index, (path, output) in enumerate(together):
        others = [single[index] for single in singles if index < len(single)]
        if len(others) < len(singles) or any(other_path != path for other_path, _ in others):
            return path.rpartition(".")[0]
        if not _follows(output, [other for _, other in others]):
            return path
    return ""


def _recorded(probe: Probe, run: _Run) -> list[tuple[str, Tensor]]:
    with outputs_recorded(probe) as outputs:
        _output(probe, run)
    return outputs


def _follows(together: object, alone: Sequence[object]) -> bool:
    """Whether several timesteps at once are the timesteps alone, one after the other in memory, or their mean."""
    singles = [single for single in alone if isinstance(single, Tensor)]
    if not isinstance(together, Tensor) or len(singles) != len(alone):
        return True
    steps = torch.stack([singles[step].flatten().double() for step in _STEPS])
    if together.numel() == steps.numel():
        return _close(together, steps)
    return together.numel() == steps[0].numel() and _close(together, steps.mean(0))


def _close(got: Tensor, expected: Tensor) -> bool:
    got, expected = got.flatten().double().nan_to_num(), expected.flatten().nan_to_num()
    return float((got - expected).norm()) <= _TOLERANCE * float(expected.norm())
