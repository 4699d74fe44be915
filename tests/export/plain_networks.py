"""The smallest spiking networks: a neuron or two between linear layers, and any layer between two neurons."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.export.lowering import Prepared
from tks_edge_export import Compiler
from tks_edge_models import LIF, LIFParameters

Shape = tuple[int, ...]


class Plain(nn.Module):
    """One neuron between two linear layers, `[N, 6]` to logits `[N, 3]`."""

    def __init__(self, params: LIFParameters | None = None) -> None:
        super().__init__()
        self.first, self.neuron, self.last = nn.Linear(6, 8), LIF(params), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.neuron(self.first(x)))
        return logits


class Deeper(Plain):
    """A second neuron behind a layer that reads spikes."""

    def __init__(self, params: LIFParameters | None = None) -> None:
        super().__init__(params)
        self.middle, self.second = nn.Linear(8, 8), LIF(params)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.second(self.middle(self.neuron(self.first(x)))))
        return logits


class Between(nn.Module):
    """A float layer and a neuron, the layer that int8 covers and a neuron, a classifier."""

    def __init__(self, layer: nn.Module, shape: Shape) -> None:
        super().__init__()
        stems: dict[int, nn.Module] = {3: nn.Conv2d(2, 4, 3, padding=1), 2: nn.Conv1d(2, 4, 3, padding=1)}
        self.stem = stems[len(shape)] if len(shape) in stems else nn.Linear(shape[0], 4)
        self.first, self.middle, self.second = LIF(), layer, LIF()
        with torch.no_grad():
            features = self.middle.eval()(self.stem(torch.rand(2, *shape))).flatten(1).shape[1]
        self.head = nn.Linear(features, 4)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(self.stem(x.float() / 32))
        logits: Tensor = self.head(self.second(self.middle(spikes)).flatten(1))
        return logits


def between(layer: nn.Module, shape: Shape) -> Prepared:
    """The layer between two neurons that fire, on uint8 `[N, *shape]`."""
    module = Between(layer, shape).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(3)
    inputs = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    return Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())


class Direct(nn.Module):
    """Neurons that are charged with the input itself `[N, n]`, and a readout of one logit for each."""

    def __init__(self, params: LIFParameters, bias: tuple[float, ...]) -> None:
        super().__init__()
        self.neuron, self.readout = LIF(params), nn.Linear(len(bias), len(bias))
        with torch.no_grad():
            self.readout.weight.copy_(torch.eye(len(bias)))
            self.readout.bias.copy_(torch.tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.neuron(x))
        return logits
