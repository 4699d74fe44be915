"""Smaller activations: what autograd keeps of a network's forward pass, without a change to any result.

Of each layer in training, autograd keeps three tensors of `[T, B, C, H, W]`: the spikes that a convolution reads, the
convolution's output that a batch norm reads, and the normalised current that a LIF layer reads. Within
`compact_activations`

- the current is not kept: the batch norm computes it again, from its input, when the backward pass needs it. Its
  running statistics are not touched by that;
- spikes, and sums of spikes, are kept as bytes: a quarter, and once where several layers read them.

Both give back the same values to the bit, so losses and gradients are those without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from tks_edge_models.layers import ThresholdBatchNorm2d
from tks_edge_models.lif import LIF

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, ThresholdBatchNorm2d)
_SMALL = 1 << 12
"""Tensors of fewer elements are kept as they are."""
_LOOKED_AT = 256
"""So many elements are looked at first, to see whether a tensor can be one of small integers."""


@dataclass(frozen=True)
class _Place:
    """Where in its storage a tensor lies."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: Tensor) -> _Place:
        return cls(tensor.shape, tensor.stride(), int(tensor.storage_offset()))

    def view(self, tensor: Tensor) -> Tensor:
        return tensor.as_strided(self.shape, self.stride, self.offset)


@dataclass(frozen=True)
class _Bytes:
    """Small integers, as bytes."""

    values: Tensor
    dtype: torch.dtype

    def unpacked(self) -> Tensor:
        return self.values.to(self.dtype)


@dataclass(frozen=True)
class _Normalised:
    """The output of a batch norm, from its input."""

    compute: Callable[[], Tensor]
    place: _Place

    def unpacked(self) -> Tensor:
        return self.place.view(self.compute())


@dataclass(frozen=True)
class _Output:
    """What is known about a storage that a layer's output lies in.

    The weak reference keeps its identity from being given to another storage once this one is gone.
    """

    storage: StorageWeakRef
    version: int
    compute: Callable[[], Tensor] | None
    """Of a batch norm; None for spikes."""


class _Keeper:
    """Decides for every tensor that autograd saves in what form it is kept."""

    def __init__(self) -> None:
        self._outputs: dict[int, _Output] = {}
        self._bytes: dict[tuple[int, int, _Place], _Bytes] = {}
        self._alive: list[StorageWeakRef] = []

    def normalised(self, norm: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Forward hook of a batch norm."""
        if output.requires_grad:
            self._know(output, _again(norm, inputs[0].detach(), output.stride()))

    def fired(self, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        """Forward hook of a LIF layer."""
        if output.requires_grad:
            self._know(output, None)

    def _know(self, output: Tensor, compute: Callable[[], Tensor] | None) -> None:
        if output.storage_offset() == 0:
            storage = output.untyped_storage()
            self._outputs[storage._cdata] = _Output(_weak(storage), output._version, compute)

    def pack(self, tensor: Tensor) -> Tensor | _Bytes | _Normalised:
        """The form in which a tensor is kept."""
        if tensor.numel() < _SMALL or tensor.is_leaf or not tensor.is_floating_point():
            return tensor
        known = self._outputs.get(tensor.untyped_storage()._cdata)
        if known is not None and known.version != tensor._version:
            known = None
        if known is not None and known.compute is not None:
            return _Normalised(known.compute, _Place.of(tensor))
        return self._as_bytes(tensor, certain=known is not None) or tensor.detach()

    def _as_bytes(self, tensor: Tensor, *, certain: bool) -> _Bytes | None:
        """The tensor as bytes if each element is one; `certain` of spikes, where nobody needs to look."""
        if tensor.stride(0) == 0:
            return None  # a current that is held over T is kept once as it is, and would be T times as bytes
        storage = tensor.untyped_storage()
        key = storage._cdata, tensor._version, _Place.of(tensor)
        if key in self._bytes:
            return self._bytes[key]
        if not certain and not (_is_bytes(_glimpse(tensor)) and _is_bytes(tensor.detach())):
            return None
        self._alive.append(_weak(storage))
        found = self._bytes[key] = _Bytes(tensor.detach().to(torch.uint8), tensor.dtype)
        return found

    @staticmethod
    def unpack(kept: Tensor | _Bytes | _Normalised) -> Tensor:
        """The tensor that was saved."""
        return kept if isinstance(kept, Tensor) else kept.unpacked()


def _weak(storage: torch.UntypedStorage) -> StorageWeakRef:
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]


def _glimpse(tensor: Tensor) -> Tensor:
    """The first elements as they lie in memory, whatever the layout."""
    room = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    return tensor.detach().as_strided((min(_LOOKED_AT, room),), (1,))


def _is_bytes(tensor: Tensor) -> bool:
    return torch.equal(tensor.to(torch.uint8).to(tensor.dtype), tensor)


def _again(norm: Any, x: Tensor, stride: tuple[int, ...]) -> Callable[[], Tensor]:
    """What computes a batch norm's output again; with the batch's statistics it leaves the running ones alone."""
    by_batch = norm.training or norm.running_mean is None
    weight, bias = (None if p is None else p.detach() for p in (norm.weight, norm.bias))

    @torch.no_grad()
    def compute() -> Tensor:
        mean, variance = (None, None) if by_batch else (norm.running_mean, norm.running_var)
        with torch.autocast(x.device.type, enabled=False):
            y = nn.functional.batch_norm(x, mean, variance, weight, bias, by_batch, 0.0, norm.eps)
        return y if y.stride() == stride else torch.empty_strided(y.shape, stride, dtype=y.dtype).copy_(y)

    return compute


@contextlib.contextmanager
def compact_activations(network: nn.Module) -> Iterator[None]:
    """Keep less for the backward pass of what `network` computes within the block; the backward pass may come after it.

    LIF layers need a kernel that keeps its input (`lif_kernels.select_kernel`) for their currents to go. Batch norms of
    other classes than PyTorch's own and `ThresholdBatchNorm2d`, such as synchronised ones, keep what they give.
    """
    keeper = _Keeper()
    with contextlib.ExitStack() as stack:
        for layer in network.modules():
            if type(layer) in _NORMS:
                stack.callback(layer.register_forward_hook(keeper.normalised).remove)
            elif isinstance(layer, LIF):
                stack.callback(layer.register_forward_hook(keeper.fired).remove)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(keeper.pack, keeper.unpack))
        yield
