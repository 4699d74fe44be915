"""A network at T as one torch-exported program: the graph's contract, in PyTorch's own operators."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from tks_edge_export.errors import ExportError
from tks_edge_models import ModelError, Network
from tks_edge_runtime.artifact import MAX_TIMESTEPS


class Unrolled(nn.Module):
    """All T timesteps of a network in one call: raw pixels `[N, C, H, W]` in, the mean of the logits `[N, K]` out.

    It is a copy on the CPU, in evaluation mode; what it was made of is not changed.

    Args:
        network: one of ours; the twin at one timestep.
        timesteps: T.

    Raises:
        ExportError: the network is not one of ours, or T is out of range.
    """

    def __init__(self, network: nn.Module, timesteps: int) -> None:
        super().__init__()
        if not isinstance(network, Network):
            raise ExportError(
                f"the network is a {type(network).__name__}; torch-exported programs are made of the networks of "
                "tks_edge_models. Export it as an ONNX file, for the target tensorrt."
            )
        if type(timesteps) is not int or not 1 <= timesteps <= MAX_TIMESTEPS:
            raise ExportError(f"timesteps is {timesteps!r}; a program is made for 1 to {MAX_TIMESTEPS}.")
        if timesteps > 1 and not network.is_spiking:
            raise ExportError(f"timesteps is {timesteps}; the ReLU network has no state and runs one pass: use 1.")
        self.network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
        self.timesteps = timesteps

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, the contract's name for it
        """The logits of a batch of raw pixels, uint8 or float32 in 0..255."""
        logits: Tensor = self.network(input, self.timesteps)
        return logits.mean(0)


def unrolled_program(unrolled: Unrolled, example: Tensor) -> ExportedProgram:
    """Trace all timesteps of a network as they run, one operator after another.

    Args:
        unrolled: the network at its T.
        example: one batch in the dtype that the device will feed, where the network is; the shape becomes static.

    Raises:
        ExportError: the example does not fit the network.
    """
    try:
        with torch.no_grad():
            return torch.export.export(unrolled, (example,), strict=False)
    except ModelError as error:
        raise ExportError(str(error)) from error
