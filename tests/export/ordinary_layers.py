"""The layers that random networks are made of, the ways to write attention, and the networks themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tks_edge_models import LIF, LIFParameters

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Shape = tuple[int, ...]
"""Of one sample: an image [C, H, W], a sequence [L, C], or a vector [C]."""


class Function(nn.Module):
    """A stateless function as a layer."""

    def __init__(self, name: str, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.name = name
        self.function = function

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(*values)

    def extra_repr(self) -> str:
        return self.name


class Along(nn.Module):
    """A layer over channels-first values, for sequences `[N, L, C]`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.transpose(1, 2)).transpose(1, 2)
        return result


class Token(nn.Module):
    """A learned token before a sequence."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)


class Position(nn.Module):
    """A learned offset for every place of a sample."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.randn(1, *shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


class SelfAttention(nn.Module):
    """PyTorch's own attention, without neurons in it."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return result


class Recurrent(nn.Module):
    """A recurrent layer over the places of a sequence."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.GRU(channels, channels, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x)[0]
        return result


class Calibrated(nn.Module):
    """Shift and scale for the neurons behind it, set by the next input that it sees once `calibrating` is true."""

    scale: Tensor
    shift: Tensor

    def __init__(self, params: LIFParameters, batch_norm: BatchNorm | None, spread: float) -> None:
        super().__init__()
        self.params = params
        self.norm = batch_norm
        self.spread = spread
        self.calibrating = False
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.calibrating:
            self._calibrate(x)
        if self.norm is not None:
            result: Tensor = self.norm(x)
            return result
        return x * self.scale + self.shift

    def _calibrate(self, x: Tensor) -> None:
        """Let about a quarter of the neurons fire at the first step."""
        self.calibrating = False
        threshold = self.params.v_threshold / self.params.gain
        if self.norm is None:
            self.scale = threshold * self.spread / (x.std(correction=0) + 1e-3)
            self.shift = 0.5 * threshold - x.mean() * self.scale
            return
        axes = [axis for axis in range(x.ndim) if axis != 1]
        self.norm.running_mean = x.mean(axes)
        self.norm.running_var = x.var(axes, correction=0)
        nn.init.uniform_(self.norm.weight, 0.7 * threshold, 1.3 * threshold)
        nn.init.uniform_(self.norm.bias, 0.2 * threshold, 0.8 * threshold)


class RandomNetwork(nn.Module):
    """Layers joined to a graph without cycles, written for one timestep: from `[N, ...]` to logits `[N, K]`.

    Args:
        layers: in the order of execution.
        inputs: of each layer the numbers of the values that it takes: 0 is the input, n the result of layer n - 1.
    """

    def __init__(self, layers: Sequence[nn.Module], inputs: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.inputs = tuple(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x.float() / 255.0)

    def _run(self, x: Tensor) -> Tensor:
        values = [x]
        for layer, inputs in zip(self.layers, self.inputs, strict=True):
            values.append(self._apply_layer(layer, [values[index] for index in inputs]))
        return values[-1]

    def _apply_layer(self, layer: nn.Module, taken: list[Tensor]) -> Tensor:
        result: Tensor = layer(*taken)
        return result


class RandomSequenceNetwork(RandomNetwork):
    """The same over whole sequences, as networks are trained: logits `[T, N, K]`, other layers with T in the batch."""

    def forward(self, x: Tensor, timesteps: int = 1) -> Tensor:
        return self._run((x.float() / 255.0).expand(timesteps, *x.shape))

    def _apply_layer(self, layer: nn.Module, taken: list[Tensor]) -> Tensor:
        if isinstance(layer, LIF):
            return super()._apply_layer(layer, taken)
        merged = super()._apply_layer(layer, [value.flatten(0, 1) for value in taken])
        return merged.reshape(*taken[0].shape[:2], *merged.shape[1:])


JOINS = (
    ("add", lambda a, b: a + b),
    ("and not", lambda a, b: (1 - a) * b),
    ("maximum", torch.maximum),
    ("multiply", lambda a, b: a * b),
)


def windows(x: Tensor) -> Tensor:
    """Means over windows that stand on the batch axis for a while, as in attention over windows."""
    n, c, h, w = x.shape
    windows = x.reshape(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(n * 4, c, h // 2, w // 2)
    windows = windows - windows.mean((2, 3), keepdim=True)
    return windows.reshape(n, 2, 2, c, h // 2, w // 2).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)


def split_heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def joined_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def attentions(heads: int) -> list[Callable[..., Tensor]]:
    def products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (split_heads(x, heads) for x in (q, k, v))
        return joined_heads(q @ k.transpose(-2, -1) @ v * 0.25)

    def linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q @ (k.transpose(-2, -1) @ v) * 0.125

    def scaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (split_heads(x, heads) for x in (q, k, v))
        return joined_heads(functional.scaled_dot_product_attention(q, k, v))

    def einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("blm,bmd->bld", torch.einsum("bld,bmd->blm", q, k).softmax(-1), v)

    def gated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q * (k * v).sum(1, keepdim=True)

    return [products, linear, scaled, einsum, gated]


def attentions_of_parts(heads: int) -> list[Callable[[Tensor], Tensor]]:
    (products, *_) = attentions(heads)

    def chunks(x: Tensor) -> Tensor:
        return products(*x.chunk(3, dim=-1))

    def leading(x: Tensor) -> Tensor:
        n, length, channels = x.shape
        q, k, v = x.reshape(n, length, 3, heads, channels // (3 * heads)).permute(2, 0, 3, 1, 4)
        return joined_heads(q @ k.transpose(-2, -1) @ v * 0.25)

    def indexed(x: Tensor) -> Tensor:
        parts = x.reshape(*x.shape[:2], 3, -1)
        return products(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2])

    return [chunks, leading, indexed]


def trained_norm(norm: BatchNorm) -> nn.Module:
    """A batch norm as after training: no statistic is what it began with."""
    for values, low, high in (
        (norm.weight, 0.5, 1.5),
        (norm.bias, -0.3, 0.3),
        (norm.running_mean, -0.3, 0.3),
        (norm.running_var, 0.5, 2.0),
    ):
        if values is not None:
            nn.init.uniform_(values, low, high)
    return norm
