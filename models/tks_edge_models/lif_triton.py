"""The LIF sequence as Triton kernels, for CUDA.

They run under Triton's interpreter on a CPU (TRITON_INTERPRET=1), and are tested there; on a GPU they have not run yet.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from tks_edge_models.lif import LIFParameters

_BLOCK = 1024
"""Neurons of one program."""
_SURROGATES = {"quadratic": 0, "atan": 1, "sigmoid": 2, "triangle": 3}
"""The number by which the kernels know a key of `surrogate.SURROGATES`."""
_INTERPRETED = "TRITON_INTERPRET"


def problem(kind: str) -> str | None:
    """Why the kernels cannot run on this kind of device here; None where they can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: it comes with PyTorch's wheels for Linux, or pip install triton."
    if os.environ.get(_INTERPRETED) == "1":
        return None
    if kind != "cuda":
        return f"it is for cuda, not for {kind} (but for Triton's interpreter, {_INTERPRETED}=1)."
    return None if torch.cuda.is_available() else "PyTorch finds no CUDA device here."


def forward(x: Tensor, timesteps: int, params: LIFParameters) -> Tensor:
    """Spikes `[T, N]` of currents `[T, N]`, or of one that is held, `[1, N]`."""
    spikes = x.new_empty(timesteps, x.shape[1])
    _launch("lif_forward", [x, spikes], timesteps, _constants(params, x))
    return spikes


def backward(grad: Tensor, x: Tensor, params: LIFParameters) -> Tensor:
    """The gradient of the currents `x`, in their shape, from that of the spikes, `[T, N]`."""
    gradient = torch.empty_like(x)
    # The potentials wait where the gradient will be; of a held current there is one gradient, but T potentials.
    potentials = gradient if len(x) == len(grad) else torch.empty_like(grad)
    constants = _constants(params, x) | {
        "detached": params.detach_reset,
        "surrogate": _SURROGATES[params.surrogate],
    }
    _launch("lif_backward", [x, grad, potentials, gradient], len(grad), constants)
    return gradient


def _constants(params: LIFParameters, x: Tensor) -> dict[str, Any]:
    """The constants by the names of the kernels' parameters."""

    def added(constant: float) -> float:
        # torch rounds a number that is added to halves to a half first on a CPU, and not on CUDA; factors nowhere.
        return constant if x.is_cuda else float(torch.tensor(constant, dtype=x.dtype))

    return {
        "decay": params.decay,
        "gain": params.gain,
        "threshold": params.v_threshold,
        "rest": params.v_rest,
        "add_threshold": added(params.v_threshold),
        "add_rest": added(params.v_rest),
        "add_pull": added(params.v_rest * (1.0 - params.decay)),
        "soft": params.v_reset is None,
        "wide": x.dtype == torch.float64,
    }


def _launch(name: str, tensors: list[Tensor], timesteps: int, constants: dict[str, Any]) -> None:
    x = tensors[0]
    neurons = x.shape[1]
    if neurons == 0:
        return
    kernel = getattr(importlib.import_module("tks_edge_models.lif_triton_kernels"), name)
    # Contraction of a product and a sum would round once where the reference rounds twice, and so turn spikes.
    options = {} if os.environ.get(_INTERPRETED) == "1" else {"enable_fp_fusion": False}
    stride = 0 if len(x) < timesteps else neurons
    grid = (-(-neurons // _BLOCK),)
    kernel[grid](*tensors, neurons, timesteps, stride, block=_BLOCK, **constants, **options)
