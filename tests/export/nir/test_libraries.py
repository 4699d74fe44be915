"""Files that SpikingJelly, snnTorch, sinabs and Norse write: what is read fires the spikes of their networks.

A run of 8 timesteps from rest holds those of 1 to 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nir
import pytest
import torch
from torch import Tensor, nn

from tks_edge_export.nir_graphs import Discretization, read_nir
from tks_edge_models.stepping import spikes_of

pytestmark = [pytest.mark.usefixtures("elsewhere"), pytest.mark.filterwarnings("ignore")]
_T = 8


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(1)) * 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return tmp_path / "model.nir"


def theirs(network: nn.Module, kinds: Any, run: Callable[[], object]) -> list[Tensor]:
    """What the neurons give in a run, call by call, `[calls, ...]`."""
    found: dict[str, list[Tensor]] = {}
    for path, module in network.named_modules():
        if isinstance(module, kinds):

            def keep(_module: object, _inputs: object, output: Any, path: str = path) -> None:
                found.setdefault(path, []).append((output[0] if isinstance(output, tuple) else output).detach().clone())

            module.register_forward_hook(keep)
    with torch.no_grad():
        run()
    return [torch.stack(spikes) for spikes in found.values()]


def assert_same(file: Path, told: Discretization, x: Tensor, expected: Iterable[Tensor]) -> None:
    network = read_nir(file, told)
    got = list(spikes_of(network, x.expand(_T, *x.shape)).values())
    expected = list(expected)
    assert len(got) == len(expected) > 0
    for mine, other in zip(got, expected, strict=True):
        assert torch.equal(mine.flatten(2), other.flatten(2))
        assert 0.02 < float(mine.mean()) < 0.98


@pytest.mark.parametrize("decay_input", [True, False])
def test_spikingjelly(file: Path, images: Tensor, decay_input: bool) -> None:
    from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

    network = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1),
        neuron.LIFNode(tau=2.7, decay_input=decay_input, v_threshold=0.4),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(36, 8),
        neuron.IFNode(v_threshold=0.2),
        layer.Linear(8, 5),
        neuron.ParametricLIFNode(init_tau=3.0, v_threshold=0.1, decay_input=decay_input),
    )
    nir_exchange.export_to_nir(network, images, str(file))
    functional.reset_net(network)
    told = Discretization(dt=1e-4, leak="euler", fires="at", reset="hard", decay_input=True if decay_input else None)
    spikes = theirs(network, neuron.BaseNode, lambda: [network(images) for _ in range(_T)])
    assert_same(file, told, images, spikes)


def test_spikingjelly_with_a_synaptic_current(file: Path, images: Tensor) -> None:
    from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

    cell = neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=0.5)
    network = nn.Sequential(layer.Flatten(), layer.Linear(36, 10), cell)
    nir_exchange.export_to_nir(network, images, str(file))
    functional.reset_net(network)
    told = Discretization(dt=1e-4, leak="euler", fires="at", reset="hard")
    assert_same(file, told, images, theirs(network, neuron.BaseNode, lambda: [network(images) for _ in range(_T)]))


@pytest.mark.parametrize(("mechanism", "delay"), [("subtract", True), ("subtract", False), ("zero", True)])
@pytest.mark.parametrize("beta", [0.9, 0.35])
def test_snntorch(file: Path, images: Tensor, mechanism: str, delay: bool, beta: float) -> None:
    import snntorch
    from snntorch.export_nir import export_to_nir

    def leaky(beta: float, threshold: float, *shape: int) -> nn.Module:
        made: nn.Module = snntorch.Leaky(
            beta=torch.full(shape, beta),
            threshold=torch.full(shape, threshold),
            init_hidden=True,
            reset_mechanism=mechanism,
            reset_delay=delay,
        )
        return made

    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        leaky(beta, 0.5, 4, 6, 6),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 10),
        leaky(0.8, 0.1, 10),
    )
    nir.write(file, export_to_nir(network, images[:1], ignore_dims=[0]))
    for module in network:
        if isinstance(module, snntorch.Leaky):
            module.reset_mem()
    soft = mechanism == "subtract"
    told = Discretization(
        dt=1e-4, leak="euler", fires="above", reset="soft" if soft else "hard", reset_delay=delay if soft else None
    )
    spikes = theirs(network, snntorch.Leaky, lambda: [network(images) for _ in range(_T)])
    assert_same(file, told, images, spikes)


@pytest.mark.parametrize("norm_input", [True, False])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_sinabs(file: Path, images: Tensor, norm_input: bool, reset: str) -> None:
    from sinabs.activation import MembraneReset, MembraneSubtract, SingleSpike
    from sinabs.layers import IAFSqueeze, LIFSqueeze, StatefulLayer
    from sinabs.nir import to_nir

    how = {
        "batch_size": 4,
        "spike_fn": SingleSpike,
        "reset_fn": MembraneReset() if reset == "hard" else MembraneSubtract(),
    }
    threshold, tau = torch.full((30,), 0.1), torch.full((30,), 7.0)
    network = nn.Sequential(
        nn.Linear(36, 30),
        LIFSqueeze(tau_mem=tau, spike_threshold=threshold, norm_input=norm_input, **how),
        nn.Linear(30, 10),
        IAFSqueeze(spike_threshold=torch.tensor(0.3), **how),
    )
    x = images.flatten(1)
    nir.write(file, to_nir(network, x))
    for module in network:
        if isinstance(module, StatefulLayer):
            module.reset_states()
    sequences = x.unsqueeze(1).expand(4, _T, 36).reshape(-1, 36)
    spikes = theirs(network, StatefulLayer, lambda: network(sequences))
    told = Discretization(
        dt=1.0,
        leak="exponential",
        fires="at",
        decay_input=norm_input,
        reset=reset,
        reset_delay=False if reset == "soft" else None,
    )
    assert_same(file, told, x, [each.reshape(4, _T, -1).transpose(0, 1) for each in spikes])


@pytest.mark.parametrize("kind", ["LIFBoxCell", "LIFCell"])
def test_norse(file: Path, images: Tensor, kind: str) -> None:
    """Norse 1.1 writes dt / tau_inv for a time constant, so that --dt is the square of its dt."""
    import norse.torch as norse
    from norse.torch.functional.lif import LIFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.utils.export_nir import to_nir

    def each(value: float) -> Tensor:
        return torch.full((10,), value)

    rates = {"tau_mem_inv": each(100.0), "v_leak": each(0.0), "v_th": each(0.1)}
    parameters = LIFBoxParameters(**rates) if kind == "LIFBoxCell" else LIFParameters(tau_syn_inv=each(200.0), **rates)
    cell = getattr(norse, kind)
    network = norse.SequentialState(nn.Linear(36, 10), cell(parameters))
    x = images.flatten(1)
    nir.write(file, to_nir(network, x[:1]))

    def run() -> None:
        state = None
        for _ in range(_T):
            _, state = network(x, state)

    told = Discretization(dt=1e-6, leak="euler", fires="above", reset="hard", decay_input=kind == "LIFBoxCell")
    assert_same(file, told, x, theirs(network, cell, run))
