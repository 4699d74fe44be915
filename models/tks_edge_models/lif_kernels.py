"""What computes the LIF layers of a network in training: one fused operation a layer instead of a loop under autograd.

The spikes are those of `lif.step` to the bit, the gradients equal to rounding. Autograd keeps some six tensors a
timestep of the loop; a kernel keeps its input alone and computes the membrane anew in its backward pass, or (`torch`,
without `recompute`) the membrane potentials before the reset.

    torch       torch operations one after the other, anywhere; see `lif_eager`
    compiled    the same compiled by torch.compile into one loop each way; see `lif_compiled`
    triton      a Triton kernel, on CUDA; see `lif_triton`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tks_edge_models import lif_compiled, lif_eager, lif_triton
from tks_edge_models.errors import ModelError, unknown
from tks_edge_models.lif import LIF, LIFParameters

AUTO = "auto"
KERNELS = ("torch", "compiled", "triton")


@dataclass(frozen=True)
class Kernel:
    """One of `KERNELS`; called with currents `[T, B, ...]` and the constants, it gives spikes `[T, B, ...]`.

    A current that is held over T, as `layers.hold` gives it, is neither copied nor kept T times, and its gradient is
    the sum over T. That sum comes in T equal shares: what lies before the expansion, and nothing else, adds them up.

    Attributes:
        name: one of `KERNELS`.
        recompute: keep the input and compute the membrane anew; the compiled kernels always do.
    """

    name: str
    recompute: bool = True

    def __call__(self, x: Tensor, params: LIFParameters) -> Tensor:
        """Run all timesteps, from rest."""
        spikes: Tensor = _Sequence.apply(x, params, self)
        return spikes


@dataclass(frozen=True)
class Choice:
    """The kernel that was chosen and, in a few words, why."""

    name: str
    reason: str


def choose_kernel(name: str, device: torch.device | str) -> Choice:
    """Choose a kernel for a device.

    Args:
        name: one of `KERNELS`, or "auto".
        device: where the network computes.

    Raises:
        ModelError: no such kernel, or it cannot run here; the message says what is missing.
    """
    kind = torch.device(device).type
    if name == AUTO:
        return _automatic(kind)
    missing = problem(name, kind)
    if missing is not None:
        raise ModelError(f"the LIF kernel {name!r} cannot be used: {missing} Or choose the kernel 'torch'.")
    return Choice(name, "asked for")


def problem(name: str, device: torch.device | str) -> str | None:
    """Why one of `KERNELS` cannot run on a device, and what to do about it; None where it can.

    Raises:
        ModelError: no such kernel.
    """
    if name not in KERNELS:
        raise unknown("LIF kernel", name, (AUTO, *KERNELS))
    if name == "torch":
        return None
    kind = torch.device(device).type
    return lif_compiled.problem(kind) if name == "compiled" else lif_triton.problem(kind)


def _automatic(kind: str) -> Choice:
    if kind != "cpu":
        return Choice("torch", f"the compiled kernels were never measured on {kind}")
    problem = lif_compiled.problem(kind)
    if problem is not None:
        return Choice("torch", f"the compiled kernel, which is faster, cannot be used: {problem}")
    return Choice("compiled", "the fastest on a CPU")


def select_kernel(network: nn.Module, name: str, device: torch.device | str, *, recompute: bool = True) -> Choice:
    """Let every LIF layer of `network` train with a kernel, and give back which.

    Args:
        network: any module; what is no `LIF` or computes something else stays as it is, and so does a layer whose soft
            reset subtracts something else than the threshold: the kernels know no other.
        name: one of `KERNELS`, or "auto".
        device: where the network computes.
        recompute: keep no membrane for the backward pass but compute it anew: with `torch` slower and, together with
            `compact_activations`, smaller; the others never keep it.

    Raises:
        ModelError: no such kernel, or it cannot run here; the message says what is missing.
    """
    choice = choose_kernel(name, device)
    kernel = Kernel(choice.name, recompute)
    for layer in network.modules():
        if isinstance(layer, LIF) and type(layer).forward is LIF.forward and layer.params.v_jump is None:
            layer.kernel = kernel
    return choice


class _Sequence(torch.autograd.Function):
    """A LIF layer over all timesteps. Everything but the recurrence is done here, once for all kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, params: LIFParameters, kernel: Kernel) -> Tensor:
        _check(x)
        timesteps = len(x)
        flat = _flat(_distinct(x))
        ctx.params, ctx.kernel, ctx.held = params, kernel, len(flat) < timesteps
        ctx.potentials_kept = kernel.name == "torch" and not kernel.recompute and not ctx.held
        if ctx.potentials_kept:
            spikes, potentials = lif_eager.forward(flat, timesteps, params)
            ctx.save_for_backward(_shaped(potentials, x))
        else:
            spikes = _forward(kernel.name, flat, timesteps, params)
            ctx.save_for_backward(x)
        return _shaped(spikes, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None, None]:
        (saved,) = ctx.saved_tensors
        grad: Tensor = grad_outputs[0]
        kept = _distinct(saved) if ctx.held else saved
        flat, flat_grad = _flat(kept), _flat(_laid_out(grad, saved))
        if ctx.potentials_kept:
            gradient = lif_eager.backward(flat_grad, flat, ctx.params)
        else:
            gradient = _backward(ctx.kernel.name, flat_grad, flat, ctx.params)
        if ctx.held:
            gradient = (gradient / len(grad)).expand(len(grad), -1)
        return _shaped(gradient, saved), None, None


def _forward(name: str, x: Tensor, timesteps: int, params: LIFParameters) -> Tensor:
    if name == "compiled":
        return lif_compiled.forward(x, timesteps, params)
    if name == "triton":
        return lif_triton.forward(x, timesteps, params)
    return lif_eager.forward(x, timesteps, params)[0]


def _backward(name: str, grad: Tensor, x: Tensor, params: LIFParameters) -> Tensor:
    if name == "compiled":
        return lif_compiled.backward(grad, x, params)
    if name == "triton":
        return lif_triton.backward(grad, x, params)
    _, potentials = lif_eager.forward(x, len(grad), params)
    gradient = lif_eager.backward(grad, potentials, params, into=potentials)
    return gradient if len(x) == len(grad) else gradient.sum(0, keepdim=True)


def _check(x: Tensor) -> None:
    if x.ndim < 1 or len(x) == 0 or not x.is_floating_point():
        raise ModelError(f"a LIF layer got {x.dtype} of shape {list(x.shape)}; currents [T, B, ...] are needed.")


def _distinct(x: Tensor) -> Tensor:
    """The steps that have currents of their own: the first where they are all one and the same, in memory too.

    Where `x` is a leaf, each step's gradient is asked for by itself.
    """
    held = len(x) > 1 and x.stride(0) == 0 and not (x.is_leaf and x.requires_grad)
    return x[:1] if held else x


def _strides(x: Tensor) -> Sequence[int]:
    """How a sequence like `x` is laid out: time outermost, each step as in `x` if that leaves no gaps in memory."""
    return (x[0].numel(), *torch.empty_like(x[0], device="meta").stride())


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """The values of `tensor` in the layout of sequences like `like`; itself where it has that layout."""
    strides = _strides(like)
    if _is_dense(tensor, strides):
        return tensor
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def _is_dense(tensor: Tensor, strides: Sequence[int]) -> bool:
    return all(size <= 1 or a == b for size, a, b in zip(tensor.shape, tensor.stride(), strides, strict=True))


def _flat(x: Tensor) -> Tensor:
    """`[T, N]`: a sequence with each step's elements in the order in which they lie in memory."""
    dense = _laid_out(x, x)
    return dense.as_strided((len(x), x[0].numel()), (x[0].numel(), 1), dense.storage_offset())


def _shaped(flat: Tensor, like: Tensor) -> Tensor:
    """`[T, N]` as a sequence in the shape and the layout of `like`; the inverse of `_flat`."""
    return flat.as_strided((len(flat), *like.shape[1:]), (flat.stride(0), *_strides(like)[1:]), flat.storage_offset())
