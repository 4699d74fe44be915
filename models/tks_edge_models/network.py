"""What every network is: normalisation, a stem that runs once on a still image, and a body over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tks_edge_models.errors import ModelError
from tks_edge_models.layers import PixelNormalize, hold
from tks_edge_models.lif import LIF, LIFParameters

MakeNeuron = Callable[[], nn.Module]
"""Makes the nonlinearity after a norm: a LIF layer in a spiking network, ReLU in its twin."""


@dataclass(frozen=True)
class Parts:
    """What a network family builds: `stem` up to the first neuron, stateless; `body` from it to the logits."""

    stem: nn.Module
    body: nn.Module


class Network(nn.Module):
    """A network over time: pixels in, one logit vector a timestep out. Build one with `registry.create`.

    Attributes:
        spec: what builds it again (`registry.from_spec`), JSON-able: the arguments of `registry.create`, or a graph.
        lif: the constants of its neurons; None in the ReLU twin, and where each has its own.
    """

    def __init__(self, spec: dict[str, Any], lif: LIFParameters | None, normalize: nn.Module, parts: Parts) -> None:
        super().__init__()
        self.spec = spec
        self.lif = lif
        self.normalize = normalize
        self.stem = parts.stem
        self.body = parts.body

    @property
    def is_spiking(self) -> bool:
        """Whether the neurons are LIF; the ReLU twin has no state and runs one pass."""
        return bool(self.spec["neuron"] != "relu")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample at one timestep: `(C, H, W)` of an image."""
        size = self.spec["image_size"]
        return tuple(self.spec.get("input_shape") or (self.spec["in_channels"], size, size))

    def forward(self, pixels: Tensor, timesteps: int | None = None) -> Tensor:
        """Run the network.

        Args:
            pixels: still images `[B, C, H, W]`, shown at each of `timesteps` steps, or frames `[T, B, C, H, W]`; raw
                values 0..255, uint8 or floating point. A graph's samples may have another shape, and other values.
            timesteps: T, for still images; 1 when not given. Frames bring their own.

        Returns:
            Logits of every step, `[T, B, K]`, float. The prediction is their mean over T.

        Raises:
            ModelError: the input has another number of axes or channels, or T does not fit.
        """
        self._check(pixels, timesteps)
        is_still = pixels.ndim == len(self.input_shape) + 1
        current = self.stem(self.normalize(pixels.unsqueeze(0) if is_still else pixels))
        if is_still and timesteps is not None:
            current = hold(current, timesteps)
        logits: Tensor = self.body(current)
        return logits

    def rebinned(self, share: float) -> Network:
        """This network, with the same weights, for recordings cut into `share` times as many frames.

        A frame then holds `1 / share` times as many events; the copy's input is scaled by `share`, so that the neurons
        see what they were trained on. `spec` says so: its `std` is divided by `share`.

        Raises:
            ModelError: the input is shifted by a mean as well, as still images are, or taken as it is.
        """
        if self.spec["mean"] is None:
            raise ModelError("the network takes its input as it is; only counts of events that it scales are rescaled.")
        if any(self.spec["mean"]):
            raise ModelError(f"the input has the mean {self.spec['mean']}; only counts of events are rescaled.")
        std = [value / share for value in self.spec["std"]]
        parts = Parts(stem=self.stem, body=self.body)
        copy = Network({**self.spec, "std": std}, self.lif, PixelNormalize(self.spec["mean"], std), parts)
        return copy.to(next(self.parameters()).device).train(self.training)

    def _check(self, pixels: Tensor, timesteps: int | None) -> None:
        shape, axes = self.input_shape, len(self.input_shape)
        if pixels.ndim - axes not in (1, 2) or tuple(pixels.shape[-axes:]) != shape:
            sample = ", ".join(map(str, shape))
            what = "images" if axes == 3 else "samples"
            raise ModelError(
                f"the input has shape {list(pixels.shape)}; expected {what} [B, {sample}] or frames [T, B, {sample}]."
            )
        if timesteps is None:
            return
        if timesteps < 1:
            raise ModelError(f"timesteps is {timesteps}; at least 1 is needed.")
        if pixels.ndim == axes + 2 and timesteps != pixels.shape[0]:
            raise ModelError(f"timesteps is {timesteps}, but the input brings {pixels.shape[0]} frames.")
        if not self.is_spiking and timesteps != 1:
            raise ModelError(f"timesteps is {timesteps}; the ReLU network has no state and runs one pass: use 1.")


def neuron_factory(lif: LIFParameters | None) -> MakeNeuron:
    """Makes LIF layers with these constants, or ReLUs when there are none."""
    if lif is None:
        return nn.ReLU
    return lambda: LIF(lif)
