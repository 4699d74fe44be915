"""The LIF sequence through torch.compile: one loop over the elements each way, all timesteps inside it.

A compiler may contract `a * b + c` into one operation that rounds once, and keep halves in float32 between operations;
either turns spikes whose membrane lies within rounding of the threshold. Both are forbidden here, and the constants are
literals: as symbols they would be rearranged.

One function is compiled for each set of constants, T, dtype and kind of device, for any number of neurons. Each has a
code object of its own, because the limit on recompilations counts by code object.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor

from tks_edge_models import lif_sequence
from tks_edge_models.errors import ModelError
from tks_edge_models.lif import LIFParameters

_COMPILER = (
    "torch.compile builds it with a C++ compiler and Python's headers; install them (Debian, Ubuntu: apt-get install "
    "g++ python3-dev), or name another compiler in the environment variable CXX."
)
_LONGEST_REASON = 200
_numbers = itertools.count()


def forward(x: Tensor, timesteps: int, params: LIFParameters) -> Tensor:
    """Spikes `[T, N]` of currents `[T, N]`, or of one that is held, `[1, N]`.

    Raises:
        ModelError: it cannot be compiled here.
    """
    return _call(_compiled(_Key(False, params, timesteps, len(x) < timesteps, x.dtype, x.device.type)), x)


def backward(grad: Tensor, x: Tensor, params: LIFParameters) -> Tensor:
    """The gradient of the currents `x`, in their shape, from that of the spikes, `[T, N]`.

    Raises:
        ModelError: it cannot be compiled here.
    """
    return _call(_compiled(_Key(True, params, len(grad), len(x) < len(grad), x.dtype, x.device.type)), grad, x)


@functools.cache
def problem(kind: str) -> str | None:
    """Why nothing can be compiled for this kind of device here, found by compiling; None where it can be."""
    if kind not in ("cpu", "cuda"):
        return f"it is for cpu and cuda, not for {kind}."
    if kind == "cuda" and not torch.cuda.is_available():
        return "PyTorch finds no CUDA device here."
    try:
        forward(torch.zeros(1, 64, device=kind), 1, LIFParameters())
    except ModelError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class _Key:
    """What a compiled function is for; whatever else differs does not compile it again."""

    back: bool
    params: LIFParameters
    timesteps: int
    held: bool
    dtype: torch.dtype
    kind: str


@functools.cache
def _compiled(key: _Key) -> Callable[..., Tensor]:
    params, timesteps = key.params, key.timesteps

    def lif_forward(x: Tensor) -> Tensor:
        return lif_sequence.forward(x, timesteps, params)

    def lif_backward(grad: Tensor, x: Tensor) -> Tensor:
        return lif_sequence.backward(grad, x, params)

    function = cast(FunctionType, lif_backward if key.back else lif_forward)
    # Code objects that are equal share a limit too, so the name differs.
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_numbers)}")
    own = FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)
    compiled: Callable[..., Tensor] = torch.compile(own, fullgraph=True, options=exact_options())
    return compiled


def exact_options() -> dict[str, Any]:
    """Options of torch.compile with which a product and a sum are rounded one by one, as everywhere else."""
    from torch._inductor import config  # only now: it takes a second

    # PyTorch's newer versions have a word where the older ones had a bool.
    contract = config.cpp.enable_floating_point_contract_flag
    return {
        "cpp.enable_floating_point_contract_flag": "off" if isinstance(contract, str) else False,
        "cpp.enable_unsafe_math_opt_flag": False,
        "emulate_precision_casts": True,
        # Otherwise the number of threads at the time of compiling is built in.
        "cpp.dynamic_threads": True,
    }


def _call(compiled: Callable[..., Tensor], *sequences: Tensor) -> Tensor:
    # What they are in autograd's graph is none of the compiler's business, and would compile them again.
    plain = [sequence.detach() for sequence in sequences]
    for sequence in plain:
        torch._dynamo.maybe_mark_dynamic(sequence, 1)
    try:
        return compiled(*plain)
    except torch._dynamo.exc.TorchDynamoException as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)[:_LONGEST_REASON]
        raise ModelError(f"the LIF kernel cannot be compiled here ({first}). {_COMPILER}") from error
