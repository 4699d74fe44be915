"""An exponential moving average of a network's weights, which often does better than the last of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tks_edge.checkpoint import load_weights
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError

_NETWORK, _UPDATES = "network/", "updates"


class WeightAverage:
    """A copy of a network whose weights follow it slowly.

        w_avg <- d w_avg + (1 - d) w,    d = min(decay, (1 + n) / (10 + n)) after n updates

    The rising d lets the average forget the random weights it begins with; it is the warm-up of TensorFlow's
    `ExponentialMovingAverage`. The running mean and variance of a batch norm are averaged as the weights are: both then
    lag behind alike. Counters, being whole numbers, are copied.

    Args:
        network: the network to follow, the one with the weights and not what wraps it, on the device it trains on.
        decay: above 0 and below 1; the average looks back over some 1 / (1 - decay) updates.

    Raises:
        InputError: the decay is out of range.
    """

    def __init__(self, network: Network, decay: float) -> None:
        if not 0.0 < decay < 1.0:
            raise InputError(f"the decay of the averaged weights is {decay}; allowed is above 0 and below 1.")
        self._decay = decay
        self._average = AveragedModel(network, multi_avg_fn=self._blend, use_buffers=True)
        self._average.eval().requires_grad_(False)

    @property
    def network(self) -> Network:
        """The network with the averaged weights, in evaluation mode; it changes with the next update."""
        return cast(Network, self._average.module)

    @property
    def updates(self) -> int:
        """How many updates there were."""
        return int(self._count())

    def update(self, network: Network) -> None:
        """Take in the weights of `network` after a step of the optimizer; the first time they are taken as they are."""
        self._average.update_parameters(network)

    def state(self) -> dict[str, Tensor]:
        """All that continuing exactly needs, by name; the tensors are those of the average, not copies."""
        state = {_NETWORK + name: tensor for name, tensor in self.network.state_dict().items()}
        return state | {_UPDATES: self._count()}

    def load(self, state: Mapping[str, Tensor], source: Path) -> None:
        """Continue from what `state` gave; the average stays on its device.

        Raises:
            InputError: `source`, the file that it comes from, is damaged or belongs to another network.
        """
        count = state.get(_UPDATES)
        if count is None or count.shape != () or count.dtype != torch.int64 or int(count) < 0:
            raise InputError(f"{source} is damaged: it lacks the state of the averaged weights. Train again.")
        weights = {name.removeprefix(_NETWORK): t for name, t in state.items() if name.startswith(_NETWORK)}
        load_weights(self.network, weights, source)
        self._count().copy_(count)

    def _count(self) -> Tensor:
        # It stays on the CPU, wherever the network is: reading it does not wait for a GPU.
        return self._average.n_averaged

    def _blend(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        """Update tensors of one kind in place; AveragedModel gives those of a device and a dtype together."""
        if not averaged[0].is_floating_point():
            for mine, theirs in zip(averaged, current, strict=True):
                mine.copy_(theirs)
            return
        updates = self.updates
        decay = min(self._decay, (1 + updates) / (10 + updates))
        get_ema_multi_avg_fn(decay)(averaged, current, updates)  # type: ignore[no-untyped-call]
