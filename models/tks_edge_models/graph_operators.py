"""What a network that is described as a graph may consist of: each operator, its options, the module that it is.

All are stateless and work on one timestep's values `[B, ...]`, or are neurons. Options are numbers, lists of numbers
and words, so that a network can be written as JSON and read back without running anybody's code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tks_edge_models.errors import ModelError, unknown
from tks_edge_models.lif import LIF, LIFParameters
from tks_edge_models.lif_variants import CurrentLIF, DelayedResetLIF, RelaxingLIF

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Operator:
    """An operator.

    Attributes:
        make: the module, from its options.
        inputs: how many values go in; None for two or more.
    """

    make: Callable[..., nn.Module]
    inputs: int | None = 1


class Add(nn.Module):
    """The sum of two or more values."""

    def forward(self, *values: Tensor) -> Tensor:
        """Add, from left to right."""
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total


class Subtract(nn.Module):
    """The first value less the second."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Subtract."""
        return one - other


class Multiply(nn.Module):
    """The product of two values."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Multiply."""
        return one * other


class Scale(nn.Module):
    """A value times a number, plus another number."""

    def __init__(self, factor: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.factor = factor
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift; what changes nothing is left out."""
        scaled = x * self.factor if self.factor != 1.0 else x
        return scaled + self.offset if self.offset else scaled


class Divide(nn.Module):
    """A value divided by a number."""

    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Divide."""
        return x / self.divisor


class Concatenate(nn.Module):
    """Values joined along an axis of a sample; `dim` counts the batch as 0."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *values: Tensor) -> Tensor:
        """Join."""
        return torch.cat(values, self.dim)


class Mean(nn.Module):
    """The mean over axes of a sample; `dims` count the batch as 0."""

    def __init__(self, dims: Sequence[int], *, keepdim: bool = False) -> None:
        super().__init__()
        self.dims = tuple(dims)
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        """Average."""
        return x.mean(self.dims, self.keepdim)


class Reshape(nn.Module):
    """A sample in another shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Reshape `[B, ...]` to `[B, *shape]`."""
        return x.reshape(x.shape[0], *self.shape)


class Voting(nn.Module):
    """The mean of each group of `size` neighbours: `[B, K * size]` to `[B, K]`. Source: SpikingJelly's VotingLayer."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Vote."""
        # Not avg_pool1d, which TensorRT runs on planes alone.
        return x.reshape(x.shape[0], -1, self.size).mean(2)


class SumPool2d(nn.Module):
    """The sum over windows of a plane."""

    def __init__(self, kernel_size: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel_size = tuple(kernel_size)
        self.stride = tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        # As torch's LPPool2d of norm 1 has it, without its absolute values: spikes and currents keep their sign.
        pooled = nn.functional.avg_pool2d(x, self.kernel_size, self.stride)
        return pooled * float(math.prod(self.kernel_size))


def lif_options(params: LIFParameters) -> dict[str, Any]:
    """The constants of a LIF neuron as options; JSON knows no infinity, so a neuron without leak has `tau` None."""
    options = dataclasses.asdict(params)
    return options | {"tau": None if math.isinf(params.tau) else params.tau}


def lif_parameters(options: Options) -> LIFParameters:
    """The constants that `lif_options` wrote."""
    tau = options.get("tau", LIFParameters.tau)
    return LIFParameters(**{**options, "tau": math.inf if tau is None else tau})


def _lif(**options: Any) -> nn.Module:
    return LIF(lif_parameters(options))


NEURONS: dict[str, Operator] = {
    "lif": Operator(_lif),
    "relaxing_lif": Operator(RelaxingLIF),
    "delayed_reset_lif": Operator(DelayedResetLIF),
    "current_lif": Operator(CurrentLIF),
}
OPERATORS: dict[str, Operator] = {
    **{
        name: Operator(getattr(nn, kind))
        for name, kind in {
            "conv1d": "Conv1d",
            "conv2d": "Conv2d",
            "conv3d": "Conv3d",
            "conv_transpose2d": "ConvTranspose2d",
            "linear": "Linear",
            "batch_norm1d": "BatchNorm1d",
            "batch_norm2d": "BatchNorm2d",
            "group_norm": "GroupNorm",
            "layer_norm": "LayerNorm",
            "avg_pool1d": "AvgPool1d",
            "avg_pool2d": "AvgPool2d",
            "max_pool1d": "MaxPool1d",
            "max_pool2d": "MaxPool2d",
            "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
            "upsample": "Upsample",
            "relu": "ReLU",
            "flatten": "Flatten",
            "identity": "Identity",
        }.items()
    },
    "sum_pool2d": Operator(SumPool2d),
    "scale": Operator(Scale),
    "divide": Operator(Divide),
    "voting": Operator(Voting),
    "mean": Operator(Mean),
    "reshape": Operator(Reshape),
    "add": Operator(Add, None),
    "subtract": Operator(Subtract, 2),
    "multiply": Operator(Multiply, 2),
    "concatenate": Operator(Concatenate, None),
    **NEURONS,
}


def make(operator: str, options: Options) -> nn.Module:
    """The module of an operator.

    Raises:
        ModelError: there is no such operator, or its options are not right.
    """
    if operator not in OPERATORS:
        raise unknown("operator", operator, sorted(OPERATORS))
    try:
        return OPERATORS[operator].make(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"the operator {operator} with {dict(options)}: {error}") from error
