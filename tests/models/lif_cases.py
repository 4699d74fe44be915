"""What the tests of the LIF kernels share: the reference, currents that lie on the threshold, and a comparison.

Run as a program it compares Triton's kernels, under the interpreter that TRITON_INTERPRET=1 asks for, and prints how
many cases it has compared.
"""

from __future__ import annotations

import itertools
import sys

import torch
from torch import Tensor

from tks_edge_models import LIF, LIFParameters, step
from tks_edge_models.lif_kernels import Kernel

CASES = {
    "defaults": LIFParameters(),
    "hard, not detached, reset below zero": LIFParameters(tau=3.0, v_reset=-0.1, detach_reset=False, surrogate="atan"),
    "soft, input not decayed": LIFParameters(tau=1.7, v_reset=None, decay_input=False, surrogate="sigmoid"),
    "soft, not detached": LIFParameters(
        tau=5.0, v_threshold=0.3, v_reset=None, detach_reset=False, surrogate="triangle"
    ),
    "no memory": LIFParameters(tau=1.0, v_threshold=1.1, detach_reset=False),
}
# Of the gradient, relative to its largest element. Halves have 8 bits, and are summed over T in another order.
CLOSE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 0.05, torch.float16: 0.006}


def on_the_threshold(params: LIFParameters, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Currents `[T, ...]` that bring two thirds of the membranes within three roundings of the threshold."""
    generator = torch.Generator().manual_seed(seed)

    def random() -> Tensor:
        return torch.rand(shape[1:], generator=generator, dtype=torch.float64)

    state: Tensor | None = None
    currents = []
    for _ in range(shape[0]):
        v = torch.full(shape[1:], params.v_rest, dtype=torch.float64) if state is None else state.double()
        wanted = (params.v_threshold - params.v_rest - params.decay * (v - params.v_rest)) / params.gain
        near = wanted * (1 + (random() * 7 - 3).floor() * torch.finfo(dtype).eps)
        current = torch.where(random() < 2 / 3, near, wanted * (2 * random())).to(dtype)
        _, state = step(current, state, params)
        currents.append(current)
    return torch.stack(currents)


def reference(x: Tensor, params: LIFParameters, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes, and the gradient of `x` from that of the spikes, by autograd through the loop over `step`."""
    x = x.detach().clone().requires_grad_()
    spikes = LIF(params)(x)
    spikes.backward(grad)
    assert x.grad is not None
    return spikes.detach(), x.grad


def check(kernel: Kernel, params: LIFParameters, x: Tensor) -> None:
    """Hold a kernel's spikes and gradient against the reference's, for currents of their own and for a held one."""
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(x.dtype)
    spikes, gradient = reference(x, params, grad)
    mine = x.detach().clone().requires_grad_()
    fired = kernel(mine, params)
    assert torch.equal(fired, spikes), f"{int((fired != spikes).sum())} of {spikes.numel()} spikes differ"
    (got,) = torch.autograd.grad(fired, mine, grad)
    _close(got, gradient)

    spikes, gradient = reference(x[:1].repeat(len(x), *[1] * (x.ndim - 1)), params, grad)
    held = x[:1].detach().clone().requires_grad_()
    fired = kernel(held.expand_as(x), params)
    assert torch.equal(fired, spikes)
    (got,) = torch.autograd.grad(fired, held, grad)
    _close(got, gradient.double().sum(0, keepdim=True).to(x.dtype))


def _close(got: Tensor, wanted: Tensor) -> None:
    scale = float(wanted.abs().max()) or 1.0
    assert float((got - wanted).abs().max()) <= CLOSE[got.dtype] * scale


if __name__ == "__main__":
    cases = list(itertools.product(CASES.values(), CLOSE))
    for params, dtype in cases:
        check(Kernel("triton"), params, on_the_threshold(params, (4, 1, 1100), dtype))
    sys.stdout.write(f"{len(cases)}\n")
