"""The estimated energy: from the layers of a manifest alone, with the constants that are printed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.conftest import Build
from tks_edge_runtime.artifact import ANALOGUE, NEURON, SPIKES, WEIGHTS, LayerSpec
from tks_edge_runtime.energy_estimate import (
    METHOD,
    EnergyEstimate,
    SynapticOperations,
    energy_mj,
    estimated_energy,
    layer_operations,
    synaptic_operations,
)

LAYERS = (
    LayerSpec("first", WEIGHTS, 1_000_000, ANALOGUE, 0.25),
    LayerSpec("neuron", NEURON, fire_rate=0.1),
    LayerSpec("second", WEIGHTS, 4_000_000, SPIKES, 0.1),
    LayerSpec("third", WEIGHTS, 2_000_000, SPIKES, 1.5),
)


def test_accumulates_and_multiply_accumulates_have_an_energy_each(build: Build) -> None:
    manifest = build(layers=LAYERS).manifest
    # What an analogue input holds of zeros saves nothing.
    assert synaptic_operations(manifest) == SynapticOperations(400_000.0 + 3_000_000.0, 1_000_000.0)
    estimate = estimated_energy(manifest)
    assert estimate is not None
    assert estimate.mj == pytest.approx((3.4e6 * 0.9 + 1e6 * 4.6) * 1e-9)
    assert "0.9 pJ" in estimate.method
    assert "4.6 pJ" in estimate.method


def test_without_layers_there_is_no_guess(build: Build) -> None:
    manifest = build().manifest
    assert synaptic_operations(manifest) is None
    assert estimated_energy(manifest) is None


def test_the_precision_changes_nothing(build: Build) -> None:
    manifest = build(layers=LAYERS).manifest
    int8 = dataclasses.replace(manifest, precision=dataclasses.replace(manifest.precision, name="int8"))
    assert estimated_energy(int8) == estimated_energy(manifest)


layer_specs = st.builds(
    LayerSpec,
    path=st.just("layer"),
    kind=st.just(WEIGHTS),
    macs=st.integers(0, 10**12),
    input=st.sampled_from([ANALOGUE, SPIKES]),
    input_rate=st.floats(0, 50),
)


@given(layers=st.lists(layer_specs, min_size=1, max_size=8), timesteps=st.integers(1, 64))
def test_the_energy_grows_with_t_as_the_multiply_accumulates_do(layers: list[LayerSpec], timesteps: int) -> None:
    """With rates that do not depend on T."""
    once = sum(energy_mj(layer_operations(layer)) for layer in layers)
    longer = [dataclasses.replace(layer, macs=layer.macs * timesteps) for layer in layers]
    assert sum(energy_mj(layer_operations(layer)) for layer in longer) == pytest.approx(timesteps * once)


def test_an_estimate_says_how_it_was_made() -> None:
    assert EnergyEstimate(1.0, SynapticOperations(1.0, 1.0)).method == METHOD
