"""Modules as users write them, most of which hold what a graph of one timestep would lose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tks_edge_models import LIF, LIFParameters
from tks_edge_models.lif import charge

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


class Explicit(nn.Module):
    """A neuron of another library: its state is an argument, and comes back beside the spikes."""

    def forward(self, x: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u = x if u is None else 0.5 * u + x
        return torch.gt(u, 1.0).float(), u


class TwoStates(nn.Module):
    """Needs both of its states or makes up both."""

    def forward(self, x: Tensor, a: Tensor | None = None, b: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        if a is None or b is None:
            a, b = torch.zeros_like(x), torch.zeros_like(x)
        a = 0.5 * a + x
        b = 0.5 * b + a
        return torch.gt(b, 1.0).float(), a, b


class OnlyOutput(nn.Module):
    """A cell whose output is its state."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        if h is None:
            h = torch.zeros_like(x)
        return 0.5 * h + x


class FirstOf(nn.Module):
    """Calls a layer, and takes the first of what it gives."""

    def __init__(self, layer: nn.Module, rest: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.rest = rest

    def forward(self, x: Tensor) -> Tensor:
        given = self.layer(x) if self.rest is None else self.layer(x, self.rest(x))
        result: Tensor = given if isinstance(given, Tensor) else given[0]
        return result


class Charging(nn.Module):
    """Our own equations, without the layer."""

    def forward(self, x: Tensor, v: Tensor | None = None) -> Tensor:
        return charge(x, v, LIFParameters())


class Masked(nn.Module):
    """Attention over features with an optional mask, which gives its weights too."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weights = (x if mask is None else x + mask).softmax(-1)
        return weights * x, weights


class Residual(nn.Module):
    """Takes the residual of another block, if there is one, and hands one on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        residual = x if residual is None else x + residual
        return self.linear(residual), residual


class Blocks(nn.Module):
    """Two blocks, of which the first gets no residual."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Residual(), Residual()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(*self.first(x))[0]
        return result


class Skipped(nn.Module):
    """A block whose residual input nobody uses."""

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        return (x if skip is None else x + skip).relu()


class Positioned(nn.Module):
    """Makes up an offset where it gets none."""

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        return x + (torch.arange(WIDTH).float() if offset is None else offset)


class Threshold(nn.Module):
    """Reads the constants of a LIF layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = LIF(LIFParameters(v_threshold=0.25))

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.lif(x * self.lif.params.v_threshold)
        return spikes


class ThreeAxes(nn.Module):
    """Attention on `[B, L, D]`."""

    def forward(self, x: Tensor) -> Tensor:
        parts = x.reshape(len(x), 4, -1)
        return functional.scaled_dot_product_attention(parts, parts, parts).reshape(x.shape)


class Between(nn.Module):
    """Two neurons, and what the network itself does before each."""

    def __init__(self, before: Callable[[Tensor], Tensor], behind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.first = LIF()
        self.body = nn.Sequential(nn.Linear(WIDTH, WIDTH), LIF(), nn.Linear(WIDTH, 3))
        self.before, self.behind = before, behind

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        spikes = self.first(self.before(self.stem(x).expand(timesteps, *x.shape)))
        logits: Tensor = self.body(self.behind(spikes))
        return logits


class Outer(nn.Module):
    """A network over timesteps inside another."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, timesteps: int) -> Tensor:
        logits: Tensor = self.layer(x, timesteps)
        return logits
