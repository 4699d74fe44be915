"""What cannot be kept is refused, with the module's path and the property."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tks_edge_export import AdoptionError, adopt

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
X = torch.rand(3, 6, generator=torch.Generator().manual_seed(0)) * 3


def leaky(**options: Any) -> Any:
    import snntorch

    return snntorch.Leaky(**{"beta": 0.9, "init_hidden": True} | options)


class Around(nn.Module):
    """A network whose forward is handed in."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.last = nn.Linear(6, 4)
        for name, module in modules.items():
            self.add_module(name, module)
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def around_leaky(forward: Callable[[Any, Tensor], Any], **options: Any) -> Around:
    return Around(forward, lif=leaky(**options))


def explicit(forward: Callable[[Any, Tensor], Any]) -> Around:
    return around_leaky(forward, init_hidden=False)


class OwnNeuron(nn.Module):
    """A neuron that somebody wrote, with its state in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.v = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.v = 0.5 * self.v + x
        return torch.gt(self.v, 1.0).float()


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Linear(6, 6), leaky(), nn.Linear(6, 4))
    network[0].register_forward_hook(lambda _m, _i, output: output * 2)
    return network


def data_dependent(self: Any, x: Tensor) -> Tensor:
    spikes = self.lif(self.fc(x))
    logits: Tensor = self.last(spikes) if bool((spikes.sum() > 3).item()) else spikes.sum(1)
    return logits


def two_steps(self: Any, x: Tensor, use: Callable[[list[Tensor], list[Tensor]], Any]) -> Any:
    mem = self.lif.init_leaky()
    spikes, membranes = [], []
    for _ in range(3):
        spk, mem = self.lif(self.fc(x), mem)
        spikes.append(spk)
        membranes.append(mem)
    return use(spikes, membranes)


def written(spikes: list[Tensor]) -> Tensor:
    every = torch.zeros(len(spikes), *spikes[0].shape)
    for t, each in enumerate(spikes):
        every[t] = each
    return every


def recurrent(self: Any, x: Tensor) -> Tensor:
    mem, spk, outputs = self.lif.init_leaky(), torch.zeros(3, 6), []
    for _ in range(3):
        spk, mem = self.lif(self.fc(x + spk), mem)
        outputs.append(spk)
    return torch.stack(outputs)


def started_anew(self: Any, x: Tensor) -> Tensor:
    return torch.stack([self.lif(self.fc(x), self.lif.init_leaky())[0] for _ in range(3)])


def own_surrogate(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), leaky(**options), nn.Linear(6, 4))


def of(make: Callable[[], Any]) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), make(), nn.Linear(6, 4))


def spikingjelly(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from spikingjelly.activation_based import neuron

        return getattr(neuron, name)(**options)

    return make


def sinabs(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import sinabs.layers

        return getattr(sinabs.layers, name)(**options)

    return make


def norse_cell() -> nn.Module:
    import norse.torch as norse

    module: nn.Module = norse.SequentialState(nn.Linear(6, 6), norse.LIFRecurrentCell(6, 6), nn.Linear(6, 4))
    return module


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "an unknown stateful layer": (lambda: of(OwnNeuron), "'__rmul__'|the network has no neurons that are known"),
    "a hook": (hooked, "the module '0' (Linear) has a hook on its forward"),
    "half weights": (lambda: own_surrogate().half().float().apply(_halve), "its weight is torch.float16"),
    "no neurons": (lambda: nn.Sequential(nn.Linear(6, 4)), "the network has no neurons that are known"),
    "a recurrent layer": (
        lambda: of(lambda: nn.GRUCell(6, 6)),
        "the module '1' (GRUCell) cannot be taken over: it is recurrent",
    ),
    "an unknown layer": (lambda: of(nn.Softsign), "there is no operator for Softsign"),
    "an unknown function": (
        lambda: around_leaky(lambda self, x: self.last(torch.erf(self.lif(self.fc(x))))),
        "computes with 'erf', which has no operator",
    ),
    "control flow by data": (
        lambda: around_leaky(data_dependent),
        "the network itself (Around) reads the values of a tensor",
    ),
    "a shared neuron": (
        lambda: Around(lambda self, x: self.last(self.b(self.a(self.fc(self.a(self.fc(x)))))), a=leaky(), b=leaky()),
        "the module 'a' (Leaky) runs 2 times and the module 'b' (Leaky) 1 times",
    ),
    "recurrence": (lambda: explicit(recurrent), "reads at timestep 1 what timestep 0 gave"),
    "a state that starts anew": (
        lambda: explicit(started_anew),
        "gets a state at timestep 1 that is not the one it gave",
    ),
    "the membrane": (
        lambda: explicit(lambda self, x: two_steps(self, x, lambda _s, membranes: torch.stack(membranes))),
        "the network computes with the state of the module 'lif' (Leaky), not with its spikes",
    ),
    "the last timestep": (
        lambda: explicit(lambda self, x: two_steps(self, x, lambda spikes, _m: spikes[-1])),
        "runs 3 timesteps and gives what those of numbers 2 gave",
    ),
    "a part that is written": (
        lambda: explicit(lambda self, x: two_steps(self, x, lambda spikes, _m: written(spikes))),
        "writes into a part of a tensor (x[...] = ...)",
    ),
    "a readout that counts": (
        lambda: explicit(
            lambda self, x: two_steps(self, x, lambda s, _m: torch.stack([each * (t + 1) for t, each in enumerate(s)]))
        ),
        "fires the same spikes and gives another output, by up to 2:",
    ),
    "a maximum over time": (
        lambda: explicit(lambda self, x: two_steps(self, x, lambda spikes, _m: torch.stack(spikes).amax(0))),
        "reads out all timesteps with 'amax'",
    ),
    "another result": (lambda: around_leaky(lambda self, x: None), "output is 0, and the network returns 0 tensors"),
    "snntorch: inhibition": (
        lambda: own_surrogate(inhibition=True),
        "the module '1' (Leaky) cannot be taken over: inhibition is set",
    ),
    "snntorch: graded spikes": (lambda: own_surrogate(graded_spikes_factor=2.0), "graded_spikes_factor is not 1"),
    "snntorch: a beta for each": (
        lambda: own_surrogate(beta=torch.linspace(0.1, 0.9, 6)),
        "beta differs from neuron to neuron (shape [6])",
    ),
    "snntorch: another neuron": (lambda: of(_synaptic), "of snnTorch's neurons only Leaky is known"),
    "spikingjelly: another neuron": (lambda: of(spikingjelly("EIFNode")), "only LIFNode, ParametricLIFNode and IFNode"),
    "spikingjelly: threshold at rest": (
        lambda: of(spikingjelly("LIFNode", v_threshold=0.5, v_reset=0.5)),
        "v_threshold is 0.5, not above",
    ),
    "sinabs: several spikes": (lambda: of(sinabs("IAF")), "its spike_fn is MultiSpike"),
    "norse: recurrent": (norse_cell, "of Norse's neurons only LIF, LIFCell, LIFBoxCell, IAF and IAFCell are known"),
}


def _halve(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        module.weight.data = module.weight.data.half()


def _synaptic() -> Any:
    import snntorch

    return snntorch.Synaptic(alpha=0.9, beta=0.8, init_hidden=True)


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_kept_is_refused(name: str) -> None:
    make, words = CASES[name]
    network = make()
    with pytest.raises(AdoptionError) as raised:
        adopt(network, X)
    assert any(each in str(raised.value) for each in words.split("|")), str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("module", "example", "words"),
    [
        (nn.Linear(6, 4).forward, X, "a torch.nn.Module is needed"),
        (nn.Linear(6, 4), "x", "the example input is no tensor"),
        (nn.Linear(6, 4), 3, "the example input is no tensor"),
        (nn.Linear(6, 4), None, "the example input is no tensor"),
        (nn.Linear(6, 4), X[0], r"the example input is \[6\]; a batch"),
        (nn.Linear(6, 4), torch.zeros(0, 6), "or an empty one"),
        (nn.Linear(5, 4), X, "fails on the example input"),
    ],
)
def test_wrong_arguments(module: Any, example: Any, words: str) -> None:
    with pytest.raises(AdoptionError, match=words):
        adopt(module, example)


def test_a_neuron_alone_is_refused() -> None:
    with pytest.raises(AdoptionError, match="the network is a single Leaky"):
        adopt(leaky(), X)


def over_time(forward: Callable[[Any, Tensor], Any]) -> nn.Module:
    """A network of SpikingJelly that runs sequences `[T, B, ...]`."""
    from spikingjelly.activation_based import functional, layer

    network = Around(forward, lif=spikingjelly("LIFNode")())
    network.fc, network.last = layer.Linear(6, 6), layer.Linear(6, 4)
    functional.set_step_mode(network, "m")
    return network


@pytest.mark.parametrize(
    ("forward", "example"),
    [
        (lambda self, x: self.last(torch.erf(self.lif(self.fc(x)))), X.expand(5, 3, 6)),
        (lambda self, x: self.last(torch.erf(self.lif(self.fc(x.unsqueeze(0).repeat(5, 1, 1))))), X),
    ],
    ids=["a sequence", "a still image"],
)
def test_of_a_sequence_the_function_without_operator_is_named(
    forward: Callable[[Any, Tensor], Any], example: Tensor
) -> None:
    with pytest.raises(AdoptionError, match="computes with 'erf', which has no operator"):
        adopt(over_time(forward), example)


def test_a_sequence_of_numbers_has_no_channels() -> None:
    with pytest.raises(AdoptionError, match="the network takes a number for each sample"):
        adopt(nn.Sequential(spikingjelly("LIFNode", step_mode="m")()), X)


def test_a_batch_that_holds_less_than_a_sequence_is_refused() -> None:
    from sinabs.activation import SingleSpike

    neuron = sinabs("LIFSqueeze", tau_mem=10.0, num_timesteps=8, spike_fn=SingleSpike)()
    with pytest.raises(AdoptionError, match="flattens time or batch"):
        adopt(nn.Sequential(nn.Flatten(0, 1), nn.Linear(6, 6), neuron), torch.ones(1, 8, 6))


@pytest.mark.parametrize("name", ["fc", "lif"])
def test_a_layer_may_be_called_input(name: str) -> None:
    network = nn.Sequential()
    for own, module in {"fc": nn.Linear(6, 6), "lif": leaky(), "last": nn.Linear(6, 4)}.items():
        network.add_module("input" if own == name else own, module)
    adopted = adopt(network, X)
    assert "body.input" in dict(adopted.named_modules()) or "stem.input" in dict(adopted.named_modules())


def test_a_network_that_was_not_reset_is_told_apart() -> None:
    network = own_surrogate()
    with torch.no_grad():
        network(X)
    with pytest.raises(AdoptionError, match="does it start at rest"):
        adopt(network, X)
