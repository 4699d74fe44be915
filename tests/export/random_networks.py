"""Random small spiking networks: ordinary layers, joins and attention in any order, and LIF layers that really fire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.export.neurons import neurons
from tests.export.ordinary_layers import (
    JOINS,
    Along,
    BatchNorm,
    Calibrated,
    Function,
    Position,
    RandomNetwork,
    RandomSequenceNetwork,
    Recurrent,
    SelfAttention,
    Shape,
    Token,
    attentions,
    attentions_of_parts,
    trained_norm,
    windows,
)
from tests.export.step_by_step import StepByStep
from tks_edge_models import LIF

_neurons = neurons(
    tau=st.one_of(st.just(2.0), st.floats(1.0, 4.0)),
    v_threshold=st.floats(0.25, 1.5),
    v_reset=st.one_of(st.none(), st.just(0.0), st.floats(-0.5, -0.0625)),
)


@dataclass
class _Growing:
    """A network in the making; `shapes` are those of its values for one sample."""

    draw: st.DrawFn
    shapes: list[Shape]
    layers: list[nn.Module] = field(default_factory=list)
    inputs: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def last(self) -> int:
        return len(self.shapes) - 1

    @property
    def shape(self) -> Shape:
        return self.shapes[-1]

    def add(self, layer: nn.Module, *inputs: int) -> int:
        taken = inputs or (self.last,)
        with torch.no_grad():
            result = layer.eval()(*[torch.zeros(2, *self.shapes[index]) for index in taken])
        self.layers.append(layer)
        self.inputs.append(taken)
        self.shapes.append(tuple(result.shape[1:]))
        return self.last

    def function(self, name: str, function: Callable[..., Tensor], *inputs: int) -> int:
        return self.add(Function(name, function), *inputs)

    def one_of(self, *choices: int) -> int:
        return self.draw(st.sampled_from(choices))

    def flip(self) -> bool:
        return self.draw(st.booleans())

    def neuron(self) -> int:
        """Calibration, by batch norm or another way, and a LIF layer."""
        params, channels = self.draw(_neurons), self.shape[0]
        norm: BatchNorm | None = None
        if len(self.shape) in (1, 3) and self.flip():
            norm = nn.BatchNorm1d(channels) if len(self.shape) == 1 else nn.BatchNorm2d(channels)
        self.add(Calibrated(params, norm, spread=self.one_of(1, 2)))
        return self.add(LIF(params))

    def join(self) -> None:
        """The last value with an earlier one of its shape, or of its shape but for the channels."""
        last, axis = self.last, 1 if len(self.shape) == 2 else 0
        same = [index for index in range(last) if self.shapes[index] == self.shape]
        rest = self.shape[:axis] + self.shape[axis + 1 :]
        fits = [
            index
            for index in range(last)
            if len(self.shapes[index]) == len(self.shape)
            and self.shapes[index][:axis] + self.shapes[index][axis + 1 :] == rest
            and self.shapes[index][axis] + self.shape[axis] <= 16
        ]
        if same and (not fits or self.flip()):
            earlier = self.draw(st.sampled_from(same))
            name, function = self.draw(st.sampled_from(JOINS))
            self.function(name, function, *((last, earlier) if self.flip() else (earlier, last)))
        elif fits:
            earlier = self.draw(st.sampled_from(fits))
            self.function("concatenate", lambda a, b: torch.cat([a, b], axis + 1), earlier, last)

    def again(self) -> None:
        """A layer that is there already, with the weights it has, where its input had the shape of the last value."""
        fits = [
            layer
            for layer, inputs in zip(self.layers, self.inputs, strict=True)
            if not isinstance(layer, (LIF, Calibrated)) and [self.shapes[i] for i in inputs] == [self.shape]
        ]
        if fits:
            self.add(fits[self.draw(st.integers(0, len(fits) - 1))])
            if len(self.shape) == 3:
                self.add(trained_norm(nn.BatchNorm2d(self.shape[0])))

    def image(self) -> None:
        _, height, width = self.shape
        choices: list[Callable[[], object]] = [self._convolution, self._normalization, self._activation, self._reorder]
        if min(height, width) >= 3:
            choices += [self._pool, self._convolution]
        if height * width <= 16:
            choices += [self._upsample]
        self.draw(st.sampled_from(choices))()

    def _convolution(self) -> None:
        channels, height, width = self.shape
        kernel = self.one_of(1, 2, 3) if min(height, width) >= 3 else 1
        outputs, groups = self.draw(st.sampled_from([(4, 1), (3, 1), (channels, channels), (2 * channels, channels)]))
        bias = self.flip()
        if self.flip() and height * width <= 16:
            stride = self.one_of(1, 2)
            self.add(nn.ConvTranspose2d(channels, outputs, kernel, stride, groups=groups, bias=bias))
            return
        padding = self.one_of(0, kernel // 2)
        modes: tuple[Literal["zeros", "reflect", "circular"], ...] = ("zeros", "reflect", "circular")
        mode = self.draw(st.sampled_from(modes))
        stride = self.one_of(1, 2)
        convolution = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=bias, padding_mode=mode)
        self.add(convolution)
        if self.flip():
            self.add(trained_norm(nn.BatchNorm2d(outputs)))

    def _pool(self) -> None:
        ceil = self.flip()
        self.add(
            self.draw(
                st.sampled_from(
                    [
                        nn.MaxPool2d(2, ceil_mode=ceil),
                        nn.MaxPool2d(3, 1, 1),
                        nn.AvgPool2d(2, ceil_mode=ceil),
                        nn.AvgPool2d(3, 2, 1, count_include_pad=ceil),
                        nn.AdaptiveAvgPool2d(2),
                        nn.AdaptiveAvgPool2d(1),
                        nn.AdaptiveMaxPool2d(1),
                    ]
                )
            )
        )

    def _upsample(self) -> None:
        self.add(
            self.draw(
                st.sampled_from(
                    [
                        nn.Upsample(scale_factor=2),
                        nn.Upsample(scale_factor=2, mode="bilinear"),
                        nn.Upsample(size=(5, 4), mode="bilinear", align_corners=True),
                        nn.Upsample(size=(3, 5)),
                    ]
                )
            )
        )

    def _reorder(self) -> None:
        channels, height, width = self.shape
        choices: list[nn.Module] = [
            Function("transpose", lambda x: x.transpose(2, 3)),
            Function("pad", lambda x: functional.pad(x, (1, 0, 0, 1))),
            Function("reverse", lambda x: x.flip(2)),
            Function("roll", lambda x: x.roll(1, 3)),
            Position(self.shape),
        ]
        if channels % 4 == 0:
            choices += [nn.PixelShuffle(2), nn.ChannelShuffle(2)]
        if height % 2 == width % 2 == 0 and channels <= 4:
            choices += [nn.PixelUnshuffle(2), Function("windows", windows)]
        if channels > 1:
            choices += [
                Function("halves swapped", lambda x: torch.cat(x.split([1, x.shape[1] - 1], 1)[::-1], 1)),
                Function("one channel less", lambda x: x[:, 1:]),
            ]
        self.add(self.draw(st.sampled_from(choices)))

    def _normalization(self) -> None:
        channels = self.shape[0] if len(self.shape) == 3 else self.shape[-1]
        choices: list[nn.Module] = [nn.LayerNorm(list(self.shape))]
        if len(self.shape) == 3:
            choices += [nn.GroupNorm(2 if channels % 2 == 0 else 1, channels), trained_norm(nn.BatchNorm2d(channels))]
        elif len(self.shape) == 2:
            choices += [nn.LayerNorm(channels), Along(trained_norm(nn.BatchNorm1d(channels))), nn.RMSNorm(channels)]
        else:
            choices += [trained_norm(nn.BatchNorm1d(channels))]
        self.add(self.draw(st.sampled_from(choices)))

    def _activation(self) -> None:
        self.add(
            self.draw(
                st.sampled_from(
                    [
                        nn.ReLU(),
                        nn.GELU(),
                        nn.SiLU(),
                        nn.Hardswish(),
                        nn.Tanh(),
                        nn.Dropout(0.5),
                        Function("one minus", lambda x: 1 - x),
                        Function("clamp", lambda x: x.clamp(-1, 1)),
                        Function("where", lambda x: torch.where(x > 0.25, x, 0.5 * x)),
                    ]
                )
            )
        )

    def sequence(self) -> None:
        length, channels = self.shape
        choices: list[Callable[[], object]] = [
            lambda: self.add(nn.Linear(channels, self.one_of(4, 6), bias=self.flip())),
            lambda: self.add(Position(self.shape)),
            lambda: self.add(nn.Softmax(self.one_of(1, 2))),
            self._attention,
            self._attention,
            self._normalization,
            self._activation,
        ]
        if length <= 16:
            choices.append(lambda: self.add(Token(channels)))
        if length >= 3:
            choices += [
                lambda: self.add(Along(nn.Conv1d(channels, 4, 3, padding=self.one_of(0, 1), groups=self.one_of(1)))),
                lambda: self.add(Along(nn.AvgPool1d(2))),
                lambda: self.add(Along(nn.ConvTranspose1d(channels, 4, 2))),
                lambda: self.add(Recurrent(channels)),
            ]
        if channels % 2 == 0:
            choices.append(lambda: self.add(SelfAttention(channels, 2)))
        self.draw(st.sampled_from(choices))()

    def _attention(self) -> None:
        """Attention over spikes: queries, keys and values behind a neuron each, in one of the ways to write it."""
        source, channels = self.last, self.shape[-1]
        inner, heads = 4, self.one_of(1, 2)
        if self.flip():
            self.add(nn.Linear(channels, 3 * inner), source)
            together = self.neuron()
            self.function("attention of parts", self.draw(st.sampled_from(attentions_of_parts(heads))), together)
            return
        parts = []
        for _ in range(3):
            self.add(nn.Linear(channels, inner, bias=False), source)
            parts.append(self.neuron())
        self.function("attention", self.draw(st.sampled_from(attentions(heads))), *parts)

    def vector(self) -> None:
        channels = self.shape[0]
        choices: list[Callable[[], object]] = [
            lambda: self.add(nn.Linear(channels, self.one_of(3, 8), bias=self.flip())),
            self._normalization,
            self._activation,
        ]
        if channels % 4 == 0:
            choices.append(lambda: self.add(nn.Unflatten(1, (channels // 4, 4))))
        if channels <= 8:
            choices.append(lambda: self.function("outer product", lambda x: x[:, :, None] * x[:, None]))
        self.draw(st.sampled_from(choices))()

    def flatten(self) -> None:
        """One axis fewer."""
        if len(self.shape) == 3:
            tokens = Function("tokens", lambda x: x.flatten(2).transpose(1, 2))
            self.add(self.draw(st.sampled_from([tokens, nn.Flatten(), Function("mean", lambda x: x.mean((2, 3)))])))
        elif len(self.shape) == 2:
            first = Function("first", lambda x: x[:, 0])
            self.add(self.draw(st.sampled_from([first, nn.Flatten(), Function("mean", lambda x: x.mean(1))])))

    def grow(self, *, mixes_samples: bool) -> None:
        if self.draw(st.integers(0, 9)) == 0 and mixes_samples:
            self.function("over the batch", lambda x: x - 0.5 * x.mean(0, keepdim=True))
        kinds: list[Callable[[], None]] = [self.join, self.join, self.again]
        if len(self.shape) > 1:
            kinds.append(self.flatten)
        kinds += [{1: self.vector, 2: self.sequence, 3: self.image}[len(self.shape)]] * 5
        self.draw(st.sampled_from(kinds))()
        if self.draw(st.integers(0, 9)) < 4:
            self.neuron()


@dataclass(frozen=True)
class Sample:
    """A network, and one batch of its input: uint8, `[N, ...]`."""

    network: RandomNetwork
    batch: Tensor


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Random networks in evaluation mode, calibrated on their batch."""
    seed = draw(st.integers(0, 2**16))
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        batch, sequence = draw(st.integers(1, 3)), draw(st.booleans())
        side = st.integers(3, 6)
        shape = draw(st.one_of(st.tuples(st.integers(1, 4), side, side), st.tuples(side, st.just(4)), st.tuples(side)))
        growing = _Growing(draw, [shape])
        for _ in range(draw(st.integers(2, 6))):
            growing.grow(mixes_samples=batch > 1 and not sequence)
        growing.neuron()
        while len(growing.shape) > 1:
            growing.flatten()
        growing.add(nn.Linear(growing.shape[0], 3))
        kind = RandomSequenceNetwork if sequence else RandomNetwork
        network = kind(growing.layers, growing.inputs).eval()
        pixels = torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=generator)
        _calibrate(network, pixels)
    return Sample(network, pixels)


def _calibrate(network: RandomNetwork, batch: Tensor) -> None:
    """Run one timestep, in which every `Calibrated` layer looks at its input."""
    reference = StepByStep(network)
    for layer in reference.network.modules():
        if isinstance(layer, Calibrated):
            layer.calibrating = True
    reference.run(batch, 1)
    network.load_state_dict(reference.network.state_dict())
