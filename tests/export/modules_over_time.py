"""Networks that treat their timesteps in ways of their own: how many they run, and what they do with several."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.export.unusual_modules import WIDTH
from tks_edge_models import LIF, LIFParameters, step


class OwnTime(nn.Module):
    """Shows its input for a number of timesteps that is its own business."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.lif(x.expand(self.timesteps, *x.shape))
        return spikes.mean(0)


class OverTime(nn.Module):
    """A network over `timesteps`, with a readout of its own behind the neurons."""

    def __init__(self, readout: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        self.before = nn.Linear(WIDTH, WIDTH)
        self.lif = LIF()
        self.readout = readout

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        return self.readout(self.lif(self.before(x).expand(timesteps, *x.shape)))


class BatchStatistics(nn.Module):
    """A norm over time and batch, with no statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.flatten(0, 1))
        return normed.reshape(x.shape)


def neurons_by_hand(x: Tensor) -> Tensor:
    state: Tensor | None = None
    spikes = []
    for current in x.unbind(0):
        fired, state = step(current, state, LIFParameters())
        spikes.append(fired)
    return torch.stack(spikes)


class Told(nn.Module):
    """A network over timesteps that do all the same up to the sixth."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(WIDTH, WIDTH)
        self.lif = LIF()
        self.after = nn.Linear(WIDTH, 3)

    def _run(self, x: Tensor, timesteps: int) -> Tensor:
        logits: Tensor = self.after(self.lif(self.before(x).expand(timesteps, *x.shape)))
        return logits


class FromTheSixth(Told):
    def forward(self, x: Tensor, timesteps: int = 1) -> Tensor:
        return self._run(x if timesteps < 6 else 2 * x, timesteps).mean(0)


class AtMostFour(Told):
    def forward(self, x: Tensor, timesteps: int = 1) -> Tensor:
        return self._run(x, min(timesteps, 4)).mean(0)


class OtherName(Told):
    def forward(self, x: Tensor, T: int = 1) -> Tensor:  # noqa: N803
        return self._run(x, T).sum(0)


class OtherDefault(Told):
    def forward(self, x: Tensor, *, duration: int | None = None) -> Tensor:
        return self._run(x, duration or 1)[-1]


class Switched(Told):
    """Options that are no number of timesteps."""

    def forward(self, x: Tensor, as_logits: bool = True, bias: Tensor | None = None) -> Tensor:
        logits = self._run(x if bias is None else x + bias, 1)
        return logits if as_logits else logits.softmax(-1)
