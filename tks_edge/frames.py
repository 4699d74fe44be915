"""Which frames a network of fewer timesteps sees of a recording that has more."""

from __future__ import annotations

import torch
from torch import Tensor

from tks_edge.settings.frames import FEWER, REBIN
from tks_edge_runtime.errors import InputError, unknown


def merged(frames: Tensor, timesteps: int) -> Tensor:
    """`frames` `[T, ...]` split into `timesteps` consecutive groups, each averaged: float `[timesteps, ...]`.

    The groups are as equal as possible; where T is no multiple, the earlier ones have one frame more. Where nothing is
    to be merged, the frames are given back as they are.

    Raises:
        InputError: there are fewer frames than `timesteps`.
    """
    _check(frames, timesteps)
    if len(frames) == timesteps:
        return frames
    exact = frames if frames.is_floating_point() else frames.float()
    return torch.stack([group.mean(0) for group in exact.tensor_split(timesteps)])


def chosen(frames: Tensor, timesteps: int, how: str) -> Tensor:
    """`timesteps` frames of `frames` `[T, ...]`: the "first" ones, or all of them merged ("rebin", see `merged`).

    Raises:
        InputError: there are fewer frames than `timesteps`, or `how` is neither of the two.
    """
    if how not in FEWER:
        raise unknown("choice of frames", how, FEWER)
    if how == REBIN:
        return merged(frames, timesteps)
    _check(frames, timesteps)
    return frames[:timesteps]


def _check(frames: Tensor, timesteps: int) -> None:
    if not 1 <= timesteps <= len(frames):
        raise InputError(f"timesteps is {timesteps}, of {len(frames)} frames; allowed is 1 to {len(frames)}.")
