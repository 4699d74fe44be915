"""Each neuron of the other libraries against its translation, whatever its constants and currents are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.elsewhere_networks import first
from tks_edge_export.adoption import norse, sinabs, snntorch, spikingjelly
from tks_edge_export.adoption.layer import Layer
from tks_edge_models import Neuron
from tks_edge_models.graph_operators import make

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
TIMESTEPS, NEURONS = 8, 96
thresholds = st.one_of(st.sampled_from([0.25, 0.5, 1.0]), st.floats(0.0625, 3.0, width=32))
shares = st.one_of(st.sampled_from([0.0, 0.5, 0.75, 1.0]), st.floats(0.0, 1.0, width=32))
taus = st.one_of(st.sampled_from([1.5, 2.0, 4.0]), st.floats(1.01, 50.0))
seeds = st.integers(0, 2**16)


def currents(threshold: float, seed: int) -> Tensor:
    """Currents `[T, N]` of the size of the threshold: a third of few bits, so that membranes reach it to the bit."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(TIMESTEPS, NEURONS, generator=generator) * 0.8 * threshold + 0.4 * threshold
    coarse = (x / threshold * 4).round() / 4 * threshold
    return torch.where(torch.arange(NEURONS) % 3 == 0, coarse, x)


def translated(layer: Layer | None) -> Neuron:
    assert layer is not None
    neuron = make(layer.operator, layer.options)
    assert isinstance(neuron, Neuron)
    return neuron


def check(module: nn.Module, layer: Layer | None, x: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> None:
    neuron = translated(layer)
    with torch.no_grad():
        theirs, ours = run(module, x), neuron(x)
    assert torch.equal(theirs, ours), [int((a != b).sum()) for a, b in zip(theirs, ours, strict=True)]


def by_step(module: nn.Module, x: Tensor) -> Tensor:
    """A neuron that keeps its state."""
    return torch.stack([first(module(current)) for current in x])


def with_state(module: nn.Module, x: Tensor) -> Tensor:
    """A neuron whose state is handed in and out."""
    state: Any = None
    outputs = []
    for current in x:
        spikes, state = module(current) if state is None else module(current, state)
        outputs.append(spikes)
    return torch.stack(outputs)


@given(tau=taus, threshold=thresholds, reset=st.sampled_from([None, 0.0, -0.3]), decay_input=st.booleans(), seed=seeds)
def test_spikingjelly_lif(tau: float, threshold: float, reset: float | None, decay_input: bool, seed: int) -> None:
    from spikingjelly.activation_based import neuron

    for kind, name in ((neuron.LIFNode, "tau"), (neuron.ParametricLIFNode, "init_tau")):
        options = {name: tau, "v_threshold": threshold, "v_reset": reset, "decay_input": decay_input}
        for mode in ("s", "m"):
            node = kind(**options, step_mode=mode).eval()
            check(
                node,
                spikingjelly.layer("n", node),
                currents(threshold, seed),
                by_step if mode == "s" else nn.Module.__call__,
            )


@given(threshold=thresholds, reset=st.sampled_from([None, 0.0, -0.3]), seed=seeds)
def test_spikingjelly_if(threshold: float, reset: float | None, seed: int) -> None:
    from spikingjelly.activation_based import neuron

    node = neuron.IFNode(v_threshold=threshold, v_reset=reset).eval()
    check(node, spikingjelly.layer("n", node), currents(threshold, seed), by_step)


@given(
    beta=shares,
    threshold=thresholds,
    mechanism=st.sampled_from(["subtract", "zero", "none"]),
    delay=st.booleans(),
    hidden=st.booleans(),
    seed=seeds,
)
def test_snntorch_leaky(beta: float, threshold: float, mechanism: str, delay: bool, hidden: bool, seed: int) -> None:
    import snntorch as snn

    options: dict[str, Any] = {"reset_mechanism": mechanism, "reset_delay": delay, "init_hidden": hidden}
    node = snn.Leaky(beta=beta, threshold=threshold, **options).eval()
    x = currents(threshold, seed)
    check(node, snntorch.layer("n", node), x, by_step if hidden else with_state)


@given(
    mem=st.floats(1.0, 1000.0, width=32),
    syn=st.floats(1.0, 1000.0, width=32),
    threshold=thresholds,
    leak=st.floats(-0.25, 0.25, width=32),
    reset=st.floats(-0.5, 0.0),
    seed=seeds,
)
def test_norse_lif(mem: float, syn: float, threshold: float, leak: float, reset: float, seed: int) -> None:
    import norse.torch as library

    numbers = {"tau_mem_inv": mem, "tau_syn_inv": syn, "v_th": threshold, "v_leak": leak, "v_reset": reset}
    constants = library.LIFParameters(**{name: torch.tensor(number) for name, number in numbers.items()})
    x = currents(threshold, seed)
    cell, sequence = library.LIFCell(p=constants), library.LIF(p=constants)
    check(cell, norse.layer("n", cell), x, with_state)
    check(sequence, norse.layer("n", sequence), x, lambda module, x: module(x)[0])


@given(mem=st.floats(1.0, 1000.0, width=32), threshold=thresholds, soft=st.booleans(), seed=seeds)
def test_norse_box_and_iaf(mem: float, threshold: float, soft: bool, seed: int) -> None:
    import norse.torch as library
    from norse.torch.functional.reset import reset_subtract, reset_value

    reset = reset_subtract if soft else reset_value
    constants = library.LIFBoxParameters(
        tau_mem_inv=torch.tensor(mem), v_th=torch.tensor(threshold), reset_method=reset
    )
    box, x = library.LIFBoxCell(p=constants), currents(threshold, seed)
    check(box, norse.layer("n", box), x, with_state)
    iaf = library.IAFCell(p=library.IAFParameters(v_th=torch.tensor(threshold), v_reset=torch.tensor(-0.2)))
    check(iaf, norse.layer("n", iaf), x, with_state)


@given(tau=st.floats(0.5, 50.0), threshold=thresholds, soft=st.booleans(), norm=st.booleans(), seed=seeds)
def test_sinabs(tau: float, threshold: float, soft: bool, norm: bool, seed: int) -> None:
    import sinabs.layers as layers
    from sinabs.activation import MembraneReset, MembraneSubtract, SingleSpike

    options: dict[str, Any] = {
        "spike_threshold": torch.tensor(threshold),
        "spike_fn": SingleSpike,
        "reset_fn": MembraneSubtract() if soft else MembraneReset(),
    }
    for node in (layers.LIF(tau_mem=tau, norm_input=norm, **options), layers.IAF(**options)):
        check(node, sinabs.layer("n", node), currents(threshold, seed), lambda module, x: module(x[None])[0])


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9, 1.0])
def test_the_equivalent_of_a_delayed_reset_fires_the_same_away_from_the_threshold(beta: float) -> None:
    """In real numbers it is a LIF whose reset takes threshold / beta off; in few bits, to the bit."""
    from tks_edge_models import LIF
    from tks_edge_models.lif_variants import DelayedResetLIF

    neuron = DelayedResetLIF(beta=beta)
    if beta == 0.0:
        assert neuron.equivalent is None
        return
    assert neuron.equivalent is not None
    assert math.isclose(neuron.equivalent.decay, beta)
    x = (currents(1.0, 0) * 16).round() / 16
    with torch.no_grad():
        differing = int((neuron(x) != LIF(neuron.equivalent)(x)).sum())
    assert differing <= (0 if beta in (0.3, 1.0) else 4)
