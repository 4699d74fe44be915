"""Activations that the backward pass computes again, block by block, instead of keeping them from the forward pass."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

Forward = Callable[[Tensor], Tensor]


def recompute(body: nn.Module) -> None:
    """Let each child of `body` keep its input alone, and compute the rest again in the backward pass.

    The result is the same to the bit, the statistics of batch norm too: only the first computation counts for them.
    """
    for block in body.children():
        # An attribute of the instance: the block keeps its class, its place and the names of its weights.
        block.forward = functools.partial(_recomputed, block, block.forward)


def _recomputed(block: nn.Module, forward: Forward, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(x)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return contextlib.nullcontext(), _counted_before(block)

    result: Tensor = checkpoint(forward, x, use_reentrant=False, context_fn=contexts)
    return result


@contextlib.contextmanager
def _counted_before(block: nn.Module) -> Iterator[None]:
    """Leave the statistics of batch norm as they are after the block: they have seen this batch."""
    counted = [(module, dict(module._buffers)) for module in block.modules() if isinstance(module, _BatchNorm)]
    # Copies, not none: the pass must keep as many tensors as the one that it repeats.
    for norm, buffers in counted:
        norm._buffers.update({name: None if kept is None else kept.clone() for name, kept in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in counted:
            norm._buffers.update(buffers)
