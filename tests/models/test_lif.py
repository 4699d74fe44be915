"""The LIF neuron against traces worked out by hand, and against ten lines of NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tks_edge_models import LIF, LIFParameters, ModelError, step
from tks_edge_models.surrogate import SURROGATES, spike

Trace = tuple[LIFParameters, list[float], list[float], list[float]]

# Parameters, currents, and the spikes and the potentials after the reset that follow from the equations, by hand.
GOLDEN: dict[str, Trace] = {
    # h = v/2 + x/2: 0.4 | 0.6 fires | 0.4 | 0.2+0.3 = 0.5 fires at equality
    "hard reset": (LIFParameters(), [0.8, 0.8, 0.8, 0.6], [0, 1, 0, 1], [0.4, 0.0, 0.4, 0.0]),
    # h = v/2 + x/2, minus 0.5 on a spike: 0.75 -> 0.25 | 0.125+0.5 -> 0.125 | 0.0625
    "soft reset": (LIFParameters(v_reset=None), [1.5, 1.0, 0.0], [1, 1, 0], [0.25, 0.125, 0.0625]),
    # h = v/2 + x: 0.25 | 0.125+0.25 = 0.375 | 0.1875+0.3125 = 0.5 fires
    "input not decayed": (LIFParameters(decay_input=False), [0.25, 0.25, 0.3125], [0, 0, 1], [0.25, 0.375, 0.0]),
    # rest and reset at -0.5: h = -0.5 + (v+0.5)/2 + x/2: 0 | 0.25 | 0.625 fires -> -0.5 | -0.25
    "reset below zero": (LIFParameters(v_reset=-0.5), [1.0, 1.0, 1.5, 0.5], [0, 0, 1, 0], [0.0, 0.25, -0.5, -0.25]),
    # tau = 1 forgets: h = x
    "no memory": (LIFParameters(tau=1.0), [0.25, 0.75, 0.25], [0, 1, 0], [0.25, 0.0, 0.25]),
    # tau = 4, threshold 1: h = 3v/4 + x/4: 0.5 | 0.375+0.5 = 0.875 | 0.65625+0.5 fires
    "slow membrane": (LIFParameters(tau=4.0, v_threshold=1.0), [2.0, 2.0, 2.0], [0, 0, 1], [0.5, 0.875, 0.0]),
}


@pytest.mark.parametrize("trace", GOLDEN.values(), ids=GOLDEN.keys())
def test_step_follows_the_trace_worked_out_by_hand(trace: Trace) -> None:
    params, currents, spikes, potentials = trace
    state: torch.Tensor | None = None
    for current, expected_spike, expected_potential in zip(currents, spikes, potentials, strict=True):
        fired, state = step(torch.tensor([current], dtype=torch.float64), state, params)
        assert fired.item() == expected_spike
        assert state.item() == pytest.approx(expected_potential, abs=1e-15)


def reference(x: npt.NDArray[np.float64], p: LIFParameters) -> npt.NDArray[np.float64]:
    """The equations in NumPy, without any of our code."""
    rest = 0.0 if p.v_reset is None else p.v_reset
    gain = 1 / p.tau if p.decay_input else 1.0
    v, spikes = np.full(x.shape[1:], rest), np.empty_like(x)
    for t, current in enumerate(x):
        h = rest + (1 - 1 / p.tau) * (v - rest) + gain * current
        spikes[t] = h >= p.v_threshold
        v = h - p.v_threshold * spikes[t] if p.v_reset is None else np.where(spikes[t] > 0, p.v_reset, h)
    return spikes


parameters = st.builds(
    LIFParameters,
    tau=st.floats(1.0, 16.0),
    v_threshold=st.floats(0.125, 2.0),
    v_reset=st.one_of(st.none(), st.floats(-1.0, 0.0)),
    decay_input=st.booleans(),
)


@settings(deadline=None, max_examples=200)
@given(params=parameters, timesteps=st.integers(1, 12), batch=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_layer_equals_the_numpy_reference(params: LIFParameters, timesteps: int, batch: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(0.6, 1.5, (timesteps, batch, 7))
    spikes = LIF(params)(torch.from_numpy(x)).numpy()
    expected = reference(x, params)
    # Random float64 currents land within rounding of the threshold with a probability of about 1e-14.
    np.testing.assert_array_equal(spikes, expected)


def test_layer_forgets_between_calls() -> None:
    layer, x = LIF(), torch.full((2, 1, 1), 0.8)
    assert torch.equal(layer(x), layer(x))


def test_a_sequence_may_be_an_expanded_view() -> None:
    x = torch.rand(1, 4, 3) * 2
    assert torch.equal(LIF()(x.expand(5, 4, 3)), LIF()(x.repeat(5, 1, 1)))


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogate_is_the_gradient_of_the_spike_and_has_unit_area(name: str) -> None:
    u = torch.linspace(-200, 200, 4_000_001, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(spike(u, name).sum(), u)
    assert torch.equal(gradient, SURROGATES[name](u.detach()))
    assert torch.trapezoid(gradient, u.detach()).item() == pytest.approx(1.0, abs=2e-3)
    assert torch.allclose(gradient, gradient.flip(0), atol=1e-12)


def test_detached_reset_stops_the_gradient_at_the_spike() -> None:
    def gradient(detach: bool) -> float:
        params = LIFParameters(detach_reset=detach)
        x = torch.tensor([0.9], dtype=torch.float64, requires_grad=True)
        _, state = step(x, None, params)
        (slope,) = torch.autograd.grad(state.sum(), x)
        return float(slope)

    # h = 0.45 < 0.5 does not fire, so v = h (1 - s) has dv/dx = 1/2 - h ds/dh / 2, with ds/dh = 2 - 4 * 0.05 = 1.8.
    assert gradient(detach=True) == pytest.approx(0.5)
    assert gradient(detach=False) == pytest.approx(0.5 - 0.45 * 1.8 / 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau": 0.5}, "tau is 0.5"),
        ({"tau": float("nan")}, "tau is nan"),
        ({"v_threshold": 0.0}, "v_threshold is 0.0; it must lie above"),
        ({"v_reset": 0.75}, "must lie above the resting potential 0.75"),
        ({"v_threshold": float("inf")}, "finite"),
        ({"surrogate": "square"}, "unknown surrogate 'square'"),
    ],
)
def test_impossible_constants_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LIFParameters(**wrong)  # type: ignore[arg-type]
