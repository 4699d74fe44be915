"""Is one timestep the whole of a network? A graph is made of one, so nothing may look across time but LIF.

With its LIF layers stood in for by a function that differs from step to step, a network that runs several timesteps at
once must give what it gives for each of them alone, or, where it reads out itself, their mean.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_export.probe import TIMESTEPS, Probe, TimeAxisError, probing_input, values_recorded
from tks_edge_export.statefulness import varied

_GAINS = (1.0, 3.0)
_TIMESTEPS = 4
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

    Whether it mixes them is tried with four; `check_timesteps` tries the number that is asked for.

    Args:
        probe: the network.
        x: its input.

    Raises:
        ExportError: names the module.
    """
    probe.run(x)
    batch, currents = x.shape[0], dict(probe.currents)
    _check_parameters(probe, x, currents)
    for path, shape in currents.items():
        if shape[0] not in (1, batch):
            raise ExportError(_several(probe, path, shape, batch))
    if batch > 1 and any(shape[:2] == (batch, batch) for shape in currents.values()):
        _check_batch_of(probe, x)
    _check_together(probe, x, _TIMESTEPS, currents)


@torch.inference_mode(mode=False)
def check_timesteps(module: nn.Module, example: Tensor, timesteps: int) -> None:
    """Refuse a network that does something else at T timesteps than at each of them alone.

    Args:
        module: a network that has been captured.
        example: as it was captured with.
        timesteps: T.

    Raises:
        ExportError: names the module.
    """
    if timesteps in (1, _TIMESTEPS):
        return  # The capture has seen these.
    probe, x = Probe(module), probing_input(example)
    probe.run(x)
    _check_together(probe, x, timesteps, dict(probe.currents))


def _check_parameters(probe: Probe, x: Tensor, currents: dict[str, tuple[int, ...]]) -> None:
    """Refuse another optional parameter that is a number, or that LIF layers get another number of timesteps from."""
    for parameter in list(inspect.signature(type(probe.network).forward).parameters.values())[2:]:
        if parameter.name == TIMESTEPS or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        # bool is an int, but a switch.
        if type(parameter.default) is int or (
            parameter.default is None and _reshapes(probe, x, parameter.name, currents)
        ):
            raise ExportError(
                f"{probe.name('')} takes {parameter.name!r} beside its input, which is left at {parameter.default}. If "
                f"it is the number of timesteps, call it `{TIMESTEPS}`; if not, wrap the network in a module whose "
                "forward takes the input alone."
            )


def _reshapes(probe: Probe, x: Tensor, name: str, currents: dict[str, tuple[int, ...]]) -> bool:
    """Whether currents have another shape when `forward` gets a number of this name."""
    try:
        probe.run(x, told={name: _TIMESTEPS})
    except ExportError:
        return False
    return probe.currents != currents


def _check_together(probe: Probe, x: Tensor, timesteps: int, currents: dict[str, tuple[int, ...]]) -> None:
    """Refuse a network that mixes T timesteps; `currents` are the shapes of what its LIF layers get for `x`."""
    if not currents:
        return
    # A half of each: over equal steps neurons of another kind gather what they do not from one, and no other order,
    # sum or shift leaves both halves as they are.
    steps = [int(2 * t >= timesteps) for t in range(timesteps)]
    gains = [_GAINS[step] for step in steps]
    if probe.takes_timesteps:
        alone = [_Run(x, 1, [gain]) for gain in _GAINS]
        if _check_mixing(probe, alone, steps, _Run(x, timesteps, gains)):
            return
    if x.shape[0] == 1 and all(shape[0] == 1 for shape in currents.values()):
        inputs = (x, varied(x))
        alone = [_Run(each, None, [gain]) for each, gain in zip(inputs, _GAINS, strict=True)]
        _check_mixing(probe, alone, steps, _Run(torch.cat([inputs[step] for step in steps]), None, gains))


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


def _check_mixing(probe: Probe, alone: Sequence[_Run], steps: Sequence[int], at_once: _Run) -> bool:
    """Compare several timesteps at once, each one of `alone`, with these; returns whether the network runs several."""
    outputs = [_output(probe, run) for run in alone]
    try:
        together = _output(probe, at_once)
    except TimeAxisError:
        if at_once.timesteps is not None:
            raise
        return False
    except ExportError:
        return False
    if not _follows(together, [outputs[step] for step in steps]):
        raise ExportError(
            f"{probe.name(_first_mixing(probe, alone, steps, at_once))} gives something else for {len(steps)} "
            "timesteps at once than for each alone. A graph is made of one timestep: only LIF layers may look across "
            "time, and forward gives the logits of every timestep, [T, N, K], or their mean."
        )
    return True


def _output(probe: Probe, run: _Run) -> object:
    return probe.run(run.x, timesteps=run.timesteps, gains=run.gains)


def _first_mixing(probe: Probe, alone: Sequence[_Run], steps: Sequence[int], at_once: _Run) -> str:
    """The path of the innermost module that is the first to mix; of the network where none of its modules does."""
    together, *singles = [_recorded(probe, run) for run in (at_once, *alone)]
    for index, (path, value) in enumerate(together):
        others = [single[index] for single in singles if index < len(single)]
        paths = [path, *(other for other, _ in others)]
        if len(others) < len(singles) or len(set(paths)) > 1:
            return _around(paths)
        if not _follows(value, [others[step][1] for step in steps]):
            return path
    return ""


def _around(paths: Sequence[str]) -> str:
    """The path of the innermost module that holds, or is, all of these."""
    path = paths[0]
    while path and not all(f"{each}.".startswith(f"{path}.") for each in paths):
        path = path.rpartition(".")[0]
    return path


def _recorded(probe: Probe, run: _Run) -> list[tuple[str, Tensor]]:
    with values_recorded(probe) as values:
        _output(probe, run)
    return values


def _follows(together: object, alone: Sequence[object]) -> bool:
    """Whether several timesteps at once are the timesteps alone, one after the other in memory, or their mean."""
    singles = [single for single in alone if isinstance(single, Tensor)]
    if not isinstance(together, Tensor) or len(singles) != len(alone):
        return True
    steps = torch.stack([single.flatten().double() for single in singles])
    if together.numel() == steps.numel():
        return _close(together, steps)
    return together.numel() == steps[0].numel() and _close(together, steps.mean(0))


def _close(got: Tensor, expected: Tensor) -> bool:
    got, expected = got.flatten().double().nan_to_num(), expected.flatten().nan_to_num()
    return float((got - expected).norm()) <= _TOLERANCE * float(expected.norm())
