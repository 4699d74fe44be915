"""The LIF neuron whose channels have thresholds of their own: what `passes.channel_units` makes of one in PyTorch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tks_edge_models import LIF, LIFParameters
from tks_edge_models.lif import charge


class ChannelLIF(LIF):
    """A LIF layer whose channels have thresholds of their own; currents `[T, B, ...]` in, spikes out.

    Args:
        params: at rest at 0; `v_threshold` is the one that those of the channels stand for.
        thresholds: float32, in a shape that broadcasts against one step's current.
    """

    thresholds: Tensor

    def __init__(self, params: LIFParameters, thresholds: npt.NDArray[np.float32]) -> None:
        super().__init__(params)
        self.register_buffer("thresholds", torch.from_numpy(thresholds.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """Run all timesteps, from rest."""
        state: Tensor | None = None
        outputs = []
        for current in x.unbind(0):
            h = charge(current, state, self.params)
            outputs.append((h >= self.thresholds).to(x.dtype))
            state = reset(h, outputs[-1], self.params, self.thresholds)
        return torch.stack(outputs)


def reset(h: Tensor, spikes: Tensor, params: LIFParameters, thresholds: Tensor) -> Tensor:
    """The potential after the spikes: at 0, or its jump lower."""
    if params.v_reset is not None:
        return h * (1.0 - spikes)
    return h - torch.from_numpy(jumps(params, thresholds.numpy())) * spikes


def jumps(params: LIFParameters, thresholds: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What a soft reset subtracts in each channel: to its threshold as the neuron's jump is to the neuron's."""
    if params.v_jump is None:
        return thresholds
    scaled: npt.NDArray[np.float32] = (thresholds.astype(np.float64) * (params.jump / params.v_threshold)).astype(
        thresholds.dtype
    )
    return scaled
