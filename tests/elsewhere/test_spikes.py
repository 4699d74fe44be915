"""The proof: networks of the other libraries fire the same spikes in their own code and in ours."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmarks.elsewhere_networks import CASES, Case, reset
from tks_edge_export import adopt
from tks_edge_models import Network, Neuron
from tks_edge_models.stepping import States, step_network

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
TIMESTEPS = 8


def neurons(network: Network) -> dict[str, str]:
    """The path of every neuron of ours, by its path in the foreign network."""
    return {path.partition(".")[2]: path for path, layer in network.named_modules() if isinstance(layer, Neuron)}


def stepped(network: Network, frames: Tensor, states: States | None = None) -> tuple[dict[str, Tensor], States]:
    """The spikes `[T, B, ...]` of ours, one timestep at a time, by the foreign network's paths; and the last states."""
    found: dict[str, list[Tensor]] = {}
    handles = [
        network.get_submodule(path).register_forward_hook(
            lambda _m, _i, spikes, name=name: found.setdefault(name, []).append(spikes[0])
        )
        for name, path in neurons(network).items()
    ]
    with torch.no_grad():
        for frame in frames:
            _, states = step_network(network, frame, states)
    for handle in handles:
        handle.remove()
    return {path: torch.stack(spikes) for path, spikes in found.items()}, states or {}


def check(case: Case, module: nn.Module, network: Network, frames: Tensor) -> dict[str, float]:
    """Every spike is the same at every layer and timestep; returns the fire rates, which are no extremes."""
    theirs = case.run(copy.deepcopy(module), frames, list(neurons(network)))
    ours, _ = stepped(network, frames)
    rates = {}
    for path, spikes in theirs.items():
        for t in range(len(frames)):
            assert torch.equal(ours[path][t].reshape(-1), spikes[t].reshape(-1)), (path, t)
        rates[path] = float(spikes.mean())
    return rates


@pytest.mark.parametrize("name", CASES)
def test_every_spike_is_the_same(name: str) -> None:
    case = CASES[name]
    module = case.network(TIMESTEPS)
    network = adopt(module, case.example(case.frames(TIMESTEPS, 2, seed=7)))
    for batch in (1, 3):
        rates = check(case, module, network, case.frames(TIMESTEPS, batch))
        print(name, {path: f"{100 * rate:.1f} %" for path, rate in rates.items()})  # noqa: T201
    assert all(0.005 < rate < 0.95 for rate in rates.values()), rates


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.axes == "B"])
def test_states_go_on_from_call_to_call_until_they_are_reset(name: str) -> None:
    case = CASES[name]
    module = case.network()
    network = adopt(module, case.example(case.frames(1, 2, seed=7)))
    if name.startswith("norse"):
        pytest.skip("its states are handed in by the caller")
    first, second = case.frames(3, 2, seed=3), case.frames(4, 2, seed=4)
    paths = list(neurons(network))
    running = copy.deepcopy(module)
    before, states = stepped(network, first)
    after, _ = stepped(network, second, states)
    for frames, ours in ((first, before), (second, after)):
        theirs = case.run(running, frames, paths)
        assert all(torch.equal(ours[path], theirs[path]) for path in paths)
    reset(running)
    again, _ = stepped(network, second)
    theirs = case.run(running, second, paths)
    assert all(torch.equal(again[path], theirs[path]) for path in paths)
    assert any(not torch.equal(again[path], after[path]) for path in paths)


@pytest.mark.parametrize("name", ["spikingjelly LIFNode, one step", "snntorch, subtract with delay", "sinabs"])
@pytest.mark.parametrize("timesteps", range(1, TIMESTEPS + 1))
def test_whole_sequences_are_their_timesteps(name: str, timesteps: int) -> None:
    """With weights and pixels of few bits every sum is exact, in whatever order and batch it is taken."""
    case = CASES[name]
    module = case.network(timesteps)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.copy_((parameter * 64).round() / 64)
            elif parameter.ndim == 1 and len(parameter) > 1:
                parameter.copy_((parameter * 16).round() / 16)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
    frames = (case.frames(timesteps, 2) * 16).round() / 16
    network = adopt(module, case.example(frames))
    theirs = case.run(copy.deepcopy(module), frames, list(neurons(network)))
    found: dict[str, Tensor] = {}
    for path, own in neurons(network).items():
        network.get_submodule(own).register_forward_hook(lambda _m, _i, spikes, path=path: found.update({path: spikes}))
    with torch.no_grad():
        network(frames)
    assert all(torch.equal(found[path].reshape(-1), theirs[path].reshape(-1)) for path in theirs)
