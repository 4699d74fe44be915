"""Any network of LIF layers and ordinary ones: its graph gives the logits that PyTorch gives, timestep by timestep."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.export.lowering import export_graph
from tests.export.ordinary_layers import RandomSequenceNetwork
from tests.export.passes.graphs import outputs
from tests.export.random_networks import Sample, samples
from tests.export.step_by_step import StepByStep

NEAR = 2e-5
"""How near the threshold, relative to the largest membrane, a decision may go either way: sums of a few hundred
products in another order, and norms of values that hardly differ, are off by that much."""
ROUNDING = 1e-4
"""Of logits, relative to the largest one, for the same reason."""


@settings(deadline=None, max_examples=4)
@given(sample=samples(), timesteps=st.integers(1, 4))
def test_a_random_network_gives_the_same_logits(sample: Sample, timesteps: int) -> None:
    reference = StepByStep(sample.network)
    expected = reference.run(sample.batch, timesteps).numpy()
    model = export_graph(sample.network, sample.batch, timesteps, per_step=True)
    got = outputs(model, input=sample.batch.numpy())
    tolerance = ROUNDING * max(1.0, float(np.abs(expected).max()))
    if reference.margin < NEAR and np.abs(got["logits_per_step"] - expected).max() > tolerance:
        event("a borderline spike differs")
        return
    np.testing.assert_allclose(got["logits_per_step"], expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(got["logits"], expected.mean(0), rtol=0, atol=tolerance)


def test_the_neurons_of_random_networks_fire_and_carry_state() -> None:
    rates: list[list[float]] = []

    @settings(deadline=None, max_examples=40, derandomize=True, database=None)
    @given(sample=samples())
    def collect(sample: Sample) -> None:
        reference = StepByStep(sample.network)
        logits = reference.run(sample.batch, 4)
        rates.extend(reference.rates.values())
        if isinstance(sample.network, RandomSequenceNetwork) and reference.margin > NEAR:
            with torch.no_grad():
                trained = sample.network(sample.batch, 4).reshape(logits.shape)
            torch.testing.assert_close(trained, logits, rtol=0, atol=ROUNDING * max(1.0, float(logits.abs().max())))

    collect()
    assert np.mean([0.02 < np.mean(rate) < 0.98 for rate in rates]) > 0.8
    assert np.mean([len(set(rate)) > 1 for rate in rates]) > 0.6
