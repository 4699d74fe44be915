"""The two Triton kernels of `lif_triton`; importing this needs Triton.

Each program takes block neurons through all timesteps. Going forward, halves are rounded after every operation, as
torch's operations one after the other round them; float32 and float64 are computed as they are. decay, gain, threshold
and rest are factors, and the names with add in front the same constants where they are added.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _rounded(value: Any, dtype: tl.constexpr, wide: tl.constexpr) -> Any:
    """`value` rounded to dtype, in the dtype of the computation.

    To bfloat16 by its bits, to nearest and of two to the even one: Triton's interpreter would cut the bits off.
    """
    if wide:
        return value
    if dtype == tl.bfloat16:
        bits = value.to(tl.int32, bitcast=True)
        nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16
        return tl.where(value == value, nearest.to(tl.float32, bitcast=True), value)
    return value.to(dtype).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _charge(
    x: Any,
    v: Any,
    t: Any,
    decay: tl.constexpr,
    gain: tl.constexpr,
    add_rest: tl.constexpr,
    add_pull: tl.constexpr,
    dtype: tl.constexpr,
    wide: tl.constexpr,
) -> Any:
    """`lif.charge`; step 0 starts at rest."""
    current = x
    if gain != 1.0:
        current = _rounded(x * gain, dtype, wide)
    at_rest = current
    kept = _rounded(v * decay, dtype, wide)
    if add_rest != 0.0:
        at_rest = _rounded(current + add_rest, dtype, wide)
        kept = _rounded(kept + add_pull, dtype, wide)
    return tl.where(t == 0, at_rest, _rounded(kept + current, dtype, wide))


@triton.jit  # type: ignore[untyped-decorator]
def _fires(h: Any, add_threshold: tl.constexpr, dtype: tl.constexpr, wide: tl.constexpr) -> Any:
    """0 or 1; `h - v_threshold` is rounded first, as the reference has it."""
    return tl.where(_rounded(h - add_threshold, dtype, wide) >= 0.0, 1.0, 0.0).to(h.dtype)


@triton.jit  # type: ignore[untyped-decorator]
def _reset(
    h: Any,
    spikes: Any,
    threshold: tl.constexpr,
    rest: tl.constexpr,
    soft: tl.constexpr,
    dtype: tl.constexpr,
    wide: tl.constexpr,
) -> Any:
    """`lif.reset`; a hard one is to rest."""
    if soft:
        return _rounded(h - _rounded(spikes * threshold, dtype, wide), dtype, wide)
    kept = _rounded(h * (1.0 - spikes), dtype, wide)
    if rest != 0.0:
        kept = _rounded(kept + _rounded(spikes * rest, dtype, wide), dtype, wide)
    return kept


@triton.jit  # type: ignore[untyped-decorator]
def _derivative(u: Any, surrogate: tl.constexpr) -> Any:
    """`surrogate.SURROGATES` by number: quadratic, atan, sigmoid, triangle."""
    if surrogate == 0:
        return tl.maximum(2.0 - 4.0 * tl.abs(u), 0.0)
    if surrogate == 1:
        scaled = 3.141592653589793 * u
        return 1.0 / (1.0 + scaled * scaled)
    if surrogate == 2:
        # Of |u|, which is the same by symmetry: exp cannot overflow.
        decayed = tl.exp(-4.0 * tl.abs(u))
        return 4.0 * decayed / ((1.0 + decayed) * (1.0 + decayed))
    return tl.maximum(1.0 - tl.abs(u), 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def lif_forward(
    x_pointer: Any,
    spikes_pointer: Any,
    neurons: Any,
    timesteps: Any,
    x_stride: Any,
    decay: tl.constexpr,
    gain: tl.constexpr,
    threshold: tl.constexpr,
    rest: tl.constexpr,
    add_threshold: tl.constexpr,
    add_rest: tl.constexpr,
    add_pull: tl.constexpr,
    soft: tl.constexpr,
    wide: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Spikes `[T, N]` of currents `[T, N]`, `x_stride` apart (0: one that is held)."""
    dtype: tl.constexpr = x_pointer.dtype.element_ty
    offsets = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = offsets < neurons
    v = tl.zeros([block], tl.float64 if wide else tl.float32)
    for t in range(timesteps):
        step = tl.cast(t, tl.int64)
        x = tl.load(x_pointer + step * x_stride + offsets, mask=inside, other=0.0).to(v.dtype)
        h = _charge(x, v, t, decay, gain, add_rest, add_pull, dtype, wide)
        spikes = _fires(h, add_threshold, dtype, wide)
        tl.store(spikes_pointer + step * neurons + offsets, spikes.to(dtype), mask=inside)
        v = _reset(h, spikes, threshold, rest, soft, dtype, wide)


@triton.jit  # type: ignore[untyped-decorator]
def lif_backward(
    x_pointer: Any,
    grad_pointer: Any,
    potentials_pointer: Any,
    gradient_pointer: Any,
    neurons: Any,
    timesteps: Any,
    x_stride: Any,
    decay: tl.constexpr,
    gain: tl.constexpr,
    threshold: tl.constexpr,
    rest: tl.constexpr,
    add_threshold: tl.constexpr,
    add_rest: tl.constexpr,
    add_pull: tl.constexpr,
    soft: tl.constexpr,
    detached: tl.constexpr,
    surrogate: tl.constexpr,
    wide: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """The gradient of the currents, `x_stride` apart; the potentials' place, `[T, N]`, may be the gradient's.

    Each thread reads back only what it has written itself, so nothing has to wait between the two loops.
    """
    dtype: tl.constexpr = x_pointer.dtype.element_ty
    offsets = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = offsets < neurons
    v = tl.zeros([block], tl.float64 if wide else tl.float32)
    for t in range(timesteps):
        step = tl.cast(t, tl.int64)
        x = tl.load(x_pointer + step * x_stride + offsets, mask=inside, other=0.0).to(v.dtype)
        h = _charge(x, v, t, decay, gain, add_rest, add_pull, dtype, wide)
        tl.store(potentials_pointer + step * neurons + offsets, h.to(dtype), mask=inside)
        v = _reset(h, _fires(h, add_threshold, dtype, wide), threshold, rest, soft, dtype, wide)
    carried = tl.zeros_like(v)
    total = tl.zeros_like(v)
    for back in range(timesteps):
        step = tl.cast(timesteps - 1 - back, tl.int64)
        h = tl.load(potentials_pointer + step * neurons + offsets, mask=inside, other=0.0).to(v.dtype)
        reaching_spike = tl.load(grad_pointer + step * neurons + offsets, mask=inside, other=0.0).to(v.dtype)
        kept = carried
        if not soft:
            kept = carried * (1.0 - _fires(h, add_threshold, dtype, wide))
        if not detached:
            reaching_spike = reaching_spike + carried * (-threshold if soft else rest - h)
        gh = reaching_spike * _derivative(h - add_threshold, surrogate) + kept
        carried = gh * decay
        gx = gh * gain
        total += gx
        if x_stride != 0:
            tl.store(gradient_pointer + step * neurons + offsets, gx.to(dtype), mask=inside)
    if x_stride == 0:
        tl.store(gradient_pointer + offsets, total.to(dtype), mask=inside)
