"""The PyTorch network that a graph must equal, and how closely."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from tks_edge_export.channel_lif import ChannelLIF
from tks_edge_export.codes import Calibration, Code, CodedLIF
from tks_edge_export.errors import ExportError
from tks_edge_export.quantization import RoundedLayer
from tks_edge_export.values import Array
from tks_edge_models import LIF, LIFParameters

_MODULES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Rounding:
    """How far rounding may take a graph from its network, as fractions.

    Attributes:
        membrane: how far a borderline membrane may be from the threshold, of the layer's largest membrane. A sum of a
            few thousand products in another order differs by a few units in the last place in practice; a wrong
            constant, a lost state or a swapped step moves membranes by many thousands.
        logits: how far the logits may be apart, given the same spikes, of the largest one.
    """

    membrane: float
    logits: float


_EPSILON32, _EPSILON16 = float(np.finfo(np.float32).eps), float(np.finfo(np.float16).eps)
FLOAT32 = Rounding(membrane=32 * _EPSILON32, logits=128 * _EPSILON32)
FLOAT16 = Rounding(membrane=4 * _EPSILON16, logits=16 * _EPSILON16)
"""Sums are taken in float32 and rounded once, so far fewer units add up."""
CODED_VALUES = Rounding(membrane=FLOAT32.membrane, logits=2.0**-4)
"""Where int8 rounds values that are no spikes: one that lies between two codes may become either, layer after layer."""


@dataclass(frozen=True)
class Reference:
    """What a graph is compared with.

    Attributes:
        network: in PyTorch, with the weights that the graph holds.
        rounding: of the graph's arithmetic.
        exact: paths of the LIF layers whose spikes must be equal without exception.
    """

    network: nn.Module
    rounding: Rounding = FLOAT32
    exact: frozenset[str] = field(default_factory=frozenset)


class CodedInput(nn.Module):
    """A layer whose input is held as 8-bit codes."""

    def __init__(self, layer: nn.Module, code: Code) -> None:
        super().__init__()
        self.layer = layer
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        """Round the input and run the layer on it."""
        output: Tensor = self.layer(self.code.decode(self.code.encode(x)))
        return output


class CodedOutput(nn.Module):
    """A layer whose output is held as 8-bit codes."""

    def __init__(self, layer: nn.Module, code: Code) -> None:
        super().__init__()
        self.layer = layer
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer and round its output."""
        return self.code.decode(self.code.encode(self.layer(x)))


def holds_weights(network: nn.Module, path: str) -> bool:
    """Whether the module at `path` is one whose weights can be replaced."""
    return isinstance(network.get_submodule(path), _MODULES)


def reference_network(
    network: nn.Module,
    layers: Iterable[RoundedLayer],
    neurons: Mapping[str, LIFParameters],
    calibration: Calibration,
    givers: Mapping[str, str] | None = None,
    thresholds: Mapping[str, Array] | None = None,
) -> nn.Module:
    """A copy of `network` with rounded weights, the norms that are part of them left out, and these neurons.

    Args:
        network: the trained one.
        layers: what became of its layers.
        neurons: the constants of its LIF layers.
        calibration: where inputs, currents and membranes are rounded too.
        givers: the module that gives the output of a layer in `calibration.currents`, where that is another.
        thresholds: of the channels of LIF layers whose channels have units of their own.

    Raises:
        ExportError: one module became several layers.
    """
    reference = copy.deepcopy(network).cpu().eval()
    seen: dict[str, RoundedLayer] = {}
    for layer in layers:
        if not _alike(seen.setdefault(layer.path, layer), layer):
            raise ExportError(
                f"{layer.path} runs several times a timestep, not each time with the same batch norm behind it, so its "
                "weights become several. Use one module for each place."
            )
        module = reference.get_submodule(layer.path)
        module.weight = nn.Parameter(torch.from_numpy(layer.weight.copy()), requires_grad=False)
        if layer.bias is not None:
            module.bias = nn.Parameter(torch.from_numpy(layer.bias.copy()), requires_grad=False)
        for norm in layer.norms:
            substitute(reference, norm, nn.Identity())
    for path, params in neurons.items():
        own = (thresholds or {}).get(path)
        substitute(reference, path, LIF(params) if own is None else ChannelLIF(params, own))
    for path, code in calibration.inputs.items():
        substitute(reference, path, CodedInput(reference.get_submodule(path), code))
    for path, code in calibration.currents.items():
        giver = (givers or {}).get(path, path)
        substitute(reference, giver, CodedOutput(reference.get_submodule(giver), code))
    for path, zero in calibration.zeros.items():
        substitute(reference, path, CodedLIF(neurons[path], zero))
    return reference


def substitute(network: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` in place of the one at `path`, under every name that it has in the network."""
    old = network.get_submodule(path)
    for name in [name for name, layer in network.named_modules(remove_duplicate=False) if layer is old]:
        network.set_submodule(name, module)


def _alike(one: RoundedLayer, other: RoundedLayer) -> bool:
    if one.bias is None or other.bias is None:
        same_bias = one.bias is other.bias
    else:
        same_bias = np.array_equal(one.bias, other.bias)
    return one.norms == other.norms and np.array_equal(one.weight, other.weight) and same_bias
