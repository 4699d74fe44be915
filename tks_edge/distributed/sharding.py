"""Weights that several processes hold a share of each: whole again, and shared out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from tks_edge_models import Network, from_spec


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole of each tensor, in every process; all of them must ask."""
    return {name: t.full_tensor() if isinstance(t, DTensor) else t for name, t in tensors.items()}


def placed_like(tensors: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor, or the share of it that this process holds where the reference of its name and shape is shared."""
    placed = dict(tensors)
    for name, tensor in tensors.items():
        reference = references.get(name)
        if isinstance(reference, DTensor) and reference.shape == tensor.shape:
            placed[name] = distribute_tensor(
                tensor.to(reference.device), reference.device_mesh, reference.placements, src_data_rank=None
            )
    return placed


def whole_network(network: Network) -> Network:
    """`network` itself where its weights are whole, else a copy with the whole of them."""
    if not any(isinstance(parameter, DTensor) for parameter in network.parameters()):
        return network
    with torch.random.fork_rng(devices=()):
        copy = from_spec(network.spec)
    copy.load_state_dict(whole(network.state_dict()))
    return copy.to(next(network.parameters()).device)
