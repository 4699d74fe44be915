"""What Spikformer and QKFormer are made of: attention between spikes, a perceptron, and their residual join.

Tokens are the pixels of a feature map `[T, B, C, H, W]`, so that every linear layer is a 1x1 convolution, as in the
authors' networks for ImageNet. Kept from these: a sum of attention is read by a neuron with half the threshold of all
others (0.5 beside 1.0), and batch norm counts T, batch and tokens together. Adapted: threshold, tau and surrogate are
those that all our networks have; `LIFParameters(v_threshold=1.0, surrogate="sigmoid")` gives theirs.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from tks_edge_models.layers import conv_norm
from tks_edge_models.lif import LIFParameters
from tks_edge_models.network import MakeNeuron, neuron_factory

_SCALE = 0.125
"""Of the attention, whatever the width of a head: the authors' constant."""
_MLP_RATIO = 4


@dataclasses.dataclass(frozen=True)
class Neurons:
    """What makes the neurons of a transformer: `usual` ones, and those that read a sum of `attention`."""

    usual: MakeNeuron
    attention: MakeNeuron


def transformer_neurons(lif: LIFParameters | None) -> Neurons:
    """LIF layers with these constants, and with the threshold half as far from rest; or ReLUs without constants."""
    if lif is None:
        return Neurons(neuron_factory(None), neuron_factory(None))
    halved = dataclasses.replace(lif, v_threshold=lif.v_rest + 0.5 * (lif.v_threshold - lif.v_rest))
    return Neurons(neuron_factory(lif), neuron_factory(halved))


class Residual(nn.Sequential):
    """Modules in a row whose spikes are added to what they read."""

    def forward(self, x: Tensor) -> Tensor:
        """Run the modules over `[T, B, C, H, W]`; a sum of spikes is a small integer."""
        spikes = x
        for module in self:
            spikes = module(spikes)
        return x + spikes


def linear(neuron: MakeNeuron, inputs: int, outputs: int, *, bias: bool) -> nn.Sequential:
    """A linear layer on every token, its norm and its neuron."""
    return nn.Sequential(conv_norm(inputs, outputs, kernel=1, bias=bias), neuron())


def perceptron(neuron: MakeNeuron, width: int) -> nn.Sequential:
    """Two linear layers on every token, four times as wide between them."""
    hidden = _MLP_RATIO * width
    return nn.Sequential(linear(neuron, width, hidden, bias=True), linear(neuron, hidden, width, bias=True))


def by_head(x: Tensor, heads: int) -> Tensor:
    """Cut channels into heads: `[T, B, C, H, W]` to `[T, B, heads, C / heads, H * W]`."""
    timesteps, batch, channels = x.shape[:3]
    return x.reshape(timesteps, batch, heads, channels // heads, -1)


class SelfAttention(nn.Module):
    """Spiking self-attention: `neuron(scale * Q K^T V)`, without softmax.

    All three are spikes, so every product is a whole number and may be taken in any order: `K^T V` first makes the cost
    linear in the number of tokens.

    Source: Zhou et al., "Spikformer: When Spiking Neural Network Meets Transformer", ICLR 2023.

    Args:
        neurons: what makes the neurons.
        width: C, channels in and out, a multiple of `heads`.
        heads: in which the channels attend separately.
        bias: whether query, key and value have one.
    """

    def __init__(self, neurons: Neurons, width: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query = linear(neurons.usual, width, width, bias=bias)
        self.key = linear(neurons.usual, width, width, bias=bias)
        self.value = linear(neurons.usual, width, width, bias=bias)
        self.neuron = neurons.attention()
        self.project = linear(neurons.usual, width, width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the tokens of `[T, B, C, H, W]`, each timestep by itself."""
        query, key, value = (by_head(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        attended = (value @ key.transpose(-2, -1)) @ query * _SCALE
        projected: Tensor = self.project(self.neuron(attended.reshape(x.shape)))
        return projected


class TokenAttention(nn.Module):
    """Q-K token attention: a token passes its key on where its query fires often enough.

    Source: Zhou et al., "QKFormer: Hierarchical Spiking Transformer using Q-K Attention", NeurIPS 2024.

    Args:
        neurons: what makes the neurons.
        width: C, channels in and out, a multiple of `heads`.
        heads: in which the channels attend separately.
    """

    def __init__(self, neurons: Neurons, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = linear(neurons.usual, width, width, bias=False)
        self.key = linear(neurons.usual, width, width, bias=False)
        self.neuron = neurons.attention()
        self.project = linear(neurons.usual, width, width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over the tokens of `[T, B, C, H, W]`, each timestep by itself."""
        attending = self.neuron(by_head(self.query(x), self.heads).sum(3, keepdim=True))
        masked = attending * by_head(self.key(x), self.heads)
        projected: Tensor = self.project(masked.reshape(x.shape))
        return projected
