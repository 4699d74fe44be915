"""Modules as users write them, most of which hold what a graph of one timestep would lose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tks_edge_models import LIF, LIFParameters, step

WIDTH = 16
BATCH = torch.rand(2, WIDTH, generator=torch.Generator().manual_seed(0))


class Cached(nn.Module):
    """Keeps what follows from its weights or its last input alone."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Tensor | None = None
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.places is None:
            self.places = torch.arange(x.shape[-1]).float()
        self.last = x
        return x + self.places


class Around(nn.Module):
    """A layer of the user's between ours."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.before = nn.Linear(WIDTH, WIDTH)
        self.layer = layer
        self.lif = LIF()
        self.after = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.after(self.lif(self.layer(self.before(x))))
        return logits


class Leaky(nn.Module):
    """A neuron that keeps its membrane, as those of other libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.memories: dict[str, Tensor | float] = {"v": 0.0}

    def forward(self, x: Tensor) -> Tensor:
        membrane = self.memories["v"] = self.memories["v"] * 0.5 + x
        return torch.gt(membrane, 1.0).float()


class Buffered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("trace", torch.zeros(WIDTH))

    trace: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.trace.mul_(0.5).add_(x.mean(0))
        return x + self.trace


class Counting(nn.Module):
    """From the hundredth timestep on it does something else."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x if self.calls < 100 else -x


class History(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen = [*self.seen, x][-3:]
        return torch.stack(self.seen).mean(0)


class Difference(nn.Module):
    """Subtracts the previous input, which equals the next one after two calls with the same."""

    def __init__(self) -> None:
        super().__init__()
        self.previous = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        result = x - self.previous
        self.previous = x
        return result


class Elsewhere(nn.Module):
    """Keeps its state where no attribute shows it."""

    calls: list[int] = []  # noqa: RUF012

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(1)
        return x * len(self.calls)


class Learning(nn.Module):
    """Changes its weight while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        self.weight.mul_(0.5)
        return x + 0.0 * self.weight


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x)


class Noisy(nn.Module):
    """Noise too small to see in an output."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-9 * torch.rand_like(x)


class Words(nn.Module):
    """Recurrent over an axis of the data, at once and word by word."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.cell = nn.GRUCell(WIDTH, WIDTH)
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        state: Tensor | None = None
        for word in self.recurrent(x)[0].unbind(1):
            state = self.cell(word, state)
        spikes: Tensor = self.lif(state)
        return spikes


class Sequence(nn.Module):
    """Recurrent over axis 0."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(WIDTH, WIDTH)
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.lif(self.recurrent(x)[0])
        return spikes


class Doubled(LIF):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Twice(nn.Module):
    """One LIF layer in two places, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = LIF()

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.second(self.first(x))
        return spikes


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        return self.lif(x) if x.sum() > 0 else x


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
