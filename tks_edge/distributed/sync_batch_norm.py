"""Batch norm over the batch of all processes, on CPUs too: torch's own runs on CUDA alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(network: nn.Module, device: torch.device) -> nn.Module:
    """`network` with every batch norm over all processes; names and shapes of the weights stay."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for name, module in network.named_children():
        if isinstance(module, _BatchNorm):
            setattr(network, name, SharedBatchNorm.of(module))
        else:
            synchronise(module, device)
    return network


class SharedBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance are those of all processes together, `[N, C, ...]` of equal N in each."""

    @classmethod
    def of(cls, norm: _BatchNorm) -> SharedBatchNorm:
        """One with the parameters, statistics and constants of `norm`."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        shared.load_state_dict(norm.state_dict())
        return shared.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's own name
        """Any number of axes behind the channels."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Normalise; in evaluation mode as ever."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        column = (1, -1, *[1] * (x.ndim - 2))
        count = x.numel() // x.shape[1] * torch.distributed.get_world_size()
        mean = _sum_of_all(x.sum(axes)) / count
        centred = x - mean.view(column)
        # In two passes: the mean of squares less the square of the mean loses all digits where the mean is large.
        variance = _sum_of_all(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        normal = centred * (variance + self.eps).rsqrt().view(column)
        if self.affine:
            normal = normal * self.weight.view(column) + self.bias.view(column)
        return normal.to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance, share)


class _SumOfAll(torch.autograd.Function):
    """The sum over all processes; backward it is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - autograd's signature
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:  # noqa: ARG004 - autograd's signature
        total: Tensor = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


def _sum_of_all(x: Tensor) -> Tensor:
    total: Tensor = _SumOfAll.apply(x)
    return total
