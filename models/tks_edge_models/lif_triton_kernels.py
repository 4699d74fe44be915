"""The two Triton kernels of `lif_triton`; importing this needs Triton.

Each program takes BLOCK neurons through all timesteps. Going forward, halves are rounded after every operation, as
torch's operations one after the other round them; float32 and float64 are computed as they are. DECAY, GAIN, THRESHOLD
and REST are factors, and the names with ADD in front the same constants where they are added.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _rounded(value: Any, DTYPE: tl.constexpr, WIDE: tl.constexpr) -> Any:
    """`value` rounded to DTYPE, in the dtype of the computation.

    To bfloat16 by its bits, to nearest and of two to the even one: Triton's interpreter would cut the bits off.
    """
    if WIDE:
        return value
    if DTYPE == tl.bfloat16:
        bits = value.to(tl.int32, bitcast=True)
        nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16
        return tl.where(value == value, nearest.to(tl.float32, bitcast=True), value)
    return value.to(DTYPE).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _charge(
    x: Any,
    v: Any,
    t: Any,
    DECAY: tl.constexpr,
    GAIN: tl.constexpr,
    ADD_REST: tl.constexpr,
    ADD_PULL: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
) -> Any:
    """`lif.charge`; step 0 starts at rest."""
    current = x
    if GAIN != 1.0:
        current = _rounded(x * GAIN, DTYPE, WIDE)
    at_rest = current
    kept = _rounded(v * DECAY, DTYPE, WIDE)
    if ADD_REST != 0.0:
        at_rest = _rounded(current + ADD_REST, DTYPE, WIDE)
        kept = _rounded(kept + ADD_PULL, DTYPE, WIDE)
    return tl.where(t == 0, at_rest, _rounded(kept + current, DTYPE, WIDE))


@triton.jit  # type: ignore[untyped-decorator]
def _fires(h: Any, ADD_THRESHOLD: tl.constexpr, DTYPE: tl.constexpr, WIDE: tl.constexpr) -> Any:
    """0 or 1; `h - v_threshold` is rounded first, as the reference has it."""
    return tl.where(_rounded(h - ADD_THRESHOLD, DTYPE, WIDE) >= 0.0, 1.0, 0.0).to(h.dtype)


@triton.jit  # type: ignore[untyped-decorator]
def _reset(
    h: Any,
    spikes: Any,
    THRESHOLD: tl.constexpr,
    REST: tl.constexpr,
    SOFT: tl.constexpr,
    DTYPE: tl.constexpr,
    WIDE: tl.constexpr,
) -> Any:
    """`lif.reset`; a hard one is to REST."""
    if SOFT:
        return _rounded(h - _rounded(spikes * THRESHOLD, DTYPE, WIDE), DTYPE, WIDE)
    kept = _rounded(h * (1.0 - spikes), DTYPE, WIDE)
    if REST != 0.0:
        kept = _rounded(kept + _rounded(spikes * REST, DTYPE, WIDE), DTYPE, WIDE)
    return kept


@triton.jit  # type: ignore[untyped-decorator]
def _derivative(u: Any, SURROGATE: tl.constexpr) -> Any:
    """`surrogate.SURROGATES` by number: quadratic, atan, sigmoid, triangle."""
    if SURROGATE == 0:
        return tl.maximum(2.0 - 4.0 * tl.abs(u), 0.0)
    elif SURROGATE == 1:
        scaled = 3.141592653589793 * u
        return 1.0 / (1.0 + scaled * scaled)
    elif SURROGATE == 2:
        # Of |u|, which is the same by symmetry: exp cannot overflow.
        decayed = tl.exp(-4.0 * tl.abs(u))
        return 4.0 * decayed / ((1.0 + decayed) * (1.0 + decayed))
    else:
        return tl.maximum(1.0 - tl.abs(u), 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def lif_forward(
    x_pointer: Any,
    spikes_pointer: Any,
    neurons: Any,
    timesteps: Any,
    x_stride: Any,
    DECAY: tl.constexpr,
    GAIN: tl.constexpr,
    THRESHOLD: tl.constexpr,
    REST: tl.constexpr,
    ADD_THRESHOLD: tl.constexpr,
    ADD_REST: tl.constexpr,
    ADD_PULL: tl.constexpr,
    SOFT: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Spikes `[T, N]` of currents `[T, N]`, `x_stride` apart (0: one that is held)."""
    DTYPE: tl.constexpr = x_pointer.dtype.element_ty
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < neurons
    v = tl.zeros([BLOCK], tl.float64 if WIDE else tl.float32)
    for t in range(timesteps):
        step = tl.cast(t, tl.int64)
        x = tl.load(x_pointer + step * x_stride + offsets, mask=inside, other=0.0).to(v.dtype)
        h = _charge(x, v, t, DECAY, GAIN, ADD_REST, ADD_PULL, DTYPE, WIDE)
        spikes = _fires(h, ADD_THRESHOLD, DTYPE, WIDE)
        tl.store(spikes_pointer + step * neurons + offsets, spikes.to(DTYPE), mask=inside)
        v = _reset(h, spikes, THRESHOLD, REST, SOFT, DTYPE, WIDE)


@triton.jit  # type: ignore[untyped-decorator]
def lif_backward(
    x_pointer: Any,
    grad_pointer: Any,
    potentials_pointer: Any,
    gradient_pointer: Any,
    neurons: Any,
    timesteps: Any,
    x_stride: Any,
    DECAY: tl.constexpr,
    GAIN: tl.constexpr,
    THRESHOLD: tl.constexpr,
    REST: tl.constexpr,
    ADD_THRESHOLD: tl.constexpr,
    ADD_REST: tl.constexpr,
    ADD_PULL: tl.constexpr,
    SOFT: tl.constexpr,
    DETACHED: tl.constexpr,
    SURROGATE: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The gradient of the currents, `x_stride` apart; the potentials' place, `[T, N]`, may be the gradient's.

    Each thread reads back only what it has written itself, so nothing has to wait between the two loops.
    """
    DTYPE: tl.constexpr = x_pointer.dtype.element_ty
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < neurons
    v = tl.zeros([BLOCK], tl.float64 if WIDE else tl.float32)
    for t in range(timesteps):
        step = tl.cast(t, tl.int64)
        x = tl.load(x_pointer + step * x_stride + offsets, mask=inside, other=0.0).to(v.dtype)
        h = _charge(x, v, t, DECAY, GAIN, ADD_REST, ADD_PULL, DTYPE, WIDE)
        tl.store(potentials_pointer + step * neurons + offsets, h.to(DTYPE), mask=inside)
        v = _reset(h, _fires(h, ADD_THRESHOLD, DTYPE, WIDE), THRESHOLD, REST, SOFT, DTYPE, WIDE)
    carried = tl.zeros_like(v)
    total = tl.zeros_like(v)
    for back in range(timesteps):
        step = tl.cast(timesteps - 1 - back, tl.int64)
        h = tl.load(potentials_pointer + step * neurons + offsets, mask=inside, other=0.0).to(v.dtype)
        reaching_spike = tl.load(grad_pointer + step * neurons + offsets, mask=inside, other=0.0).to(v.dtype)
        kept = carried
        if not SOFT:
            kept = carried * (1.0 - _fires(h, ADD_THRESHOLD, DTYPE, WIDE))
        if not DETACHED:
            if SOFT:
                reaching_spike = reaching_spike - carried * THRESHOLD
            else:
                reaching_spike = reaching_spike + carried * (REST - h)
        gh = reaching_spike * _derivative(h - ADD_THRESHOLD, SURROGATE) + kept
        carried = gh * DECAY
        gx = gh * GAIN
        total += gx
        if x_stride != 0:
            tl.store(gradient_pointer + step * neurons + offsets, gx.to(DTYPE), mask=inside)
    if x_stride == 0:
        tl.store(gradient_pointer + offsets, total.to(DTYPE), mask=inside)
