"""Networks that were trained in the other libraries, taken over and exported: spikes, predictions and graphs agree."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.elsewhere_networks import reset
from tests.elsewhere.test_spikes import neurons, stepped
from tks_edge_export import adopt, export
from tks_edge_runtime.session import load

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
TIMESTEPS = 4


@dataclass(frozen=True)
class Digits:
    """8 x 8 digits, `[M, 1, 8, 8]` in 0 to 1, the last 297 for the test."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def digits() -> Digits:
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(pixels / 16).float().reshape(-1, 1, 8, 8), torch.from_numpy(labels)
    return Digits((x[:1500], y[:1500]), (x[1500:], y[1500:]))


def _spikingjelly() -> nn.Module:
    from spikingjelly.activation_based import functional, layer, neuron

    module = nn.Sequential(
        layer.Conv2d(1, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.ParametricLIFNode(),
        layer.MaxPool2d(2),
        layer.Flatten(),
        layer.Linear(128, 10),
        neuron.LIFNode(v_threshold=0.5),
    )
    functional.set_step_mode(module, "m")
    return module


def _snntorch() -> nn.Module:
    import snntorch

    class Looping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(64, 64)
            self.lif1 = snntorch.Leaky(beta=0.9, learn_beta=True)
            self.fc2 = nn.Linear(64, 10)
            self.lif2 = snntorch.Leaky(beta=0.8, learn_threshold=True)

        def forward(self, x: Tensor) -> Tensor:
            mem1, mem2, total = self.lif1.init_leaky(), self.lif2.init_leaky(), torch.zeros(1)
            for frame in range(TIMESTEPS):
                spk1, mem1 = self.lif1(self.fc1(x[frame].flatten(1)), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                total = total + spk2
            return total / TIMESTEPS

    return Looping()


def _norse() -> nn.Module:
    import norse.torch as norse

    constants = norse.LIFParameters(tau_mem_inv=torch.tensor(400.0), v_th=torch.tensor(0.3), alpha=torch.tensor(10.0))
    neurons = norse.LIF(p=constants), norse.LIF(p=constants)
    module: nn.Module = norse.SequentialState(
        nn.Flatten(2), nn.Linear(64, 64), neurons[0], nn.Linear(64, 10), neurons[1]
    )
    return module


def _sinabs() -> nn.Module:
    import sinabs.layers as layers
    from sinabs.activation import SingleSpike

    return nn.Sequential(
        nn.Flatten(2),
        nn.Linear(64, 64),
        layers.LIF(tau_mem=3.0, spike_threshold=torch.tensor(0.3), spike_fn=SingleSpike),
        nn.Linear(64, 10),
        layers.IAF(spike_fn=SingleSpike),
    )


@dataclass(frozen=True)
class Library:
    """How a network of a library is built, and how it is given frames and read."""

    make: Callable[[], nn.Module]
    batch_first: bool = False

    def run(self, module: nn.Module, x: Tensor) -> Tensor:
        """The rates `[B, K]` of images that are shown `TIMESTEPS` times."""
        reset(module)
        frames = x.expand(TIMESTEPS, *x.shape)
        output = module(frames.transpose(0, 1) if self.batch_first else frames)
        spikes: Tensor = output[0] if isinstance(output, tuple) else output
        return spikes if spikes.ndim == 2 else spikes.mean(1 if self.batch_first else 0)

    def trained(self, digits: Digits) -> tuple[nn.Module, float]:
        """A network after a few passes over the digits, and its accuracy."""
        torch.manual_seed(0)
        module = self.make().train()
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        x, y = digits.train
        for _ in range(2):
            for rows in torch.split(torch.randperm(len(x)), 100):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(5 * self.run(module, x[rows]), y[rows])
                torch.autograd.backward(loss)
                optimizer.step()
        module.eval()
        with torch.no_grad():
            right = (self.run(module, digits.test[0]).argmax(1) == digits.test[1]).float().mean()
        reset(module)
        return module, float(right)


LIBRARIES = {
    "spikingjelly": Library(_spikingjelly),
    "snntorch": Library(_snntorch),
    "norse": Library(_norse),
    "sinabs": Library(_sinabs, batch_first=True),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_trained_network_is_the_same_in_torch_and_as_a_graph(name: str, digits: Digits, tmp_path: Path) -> None:
    library = LIBRARIES[name]
    module, accuracy = library.trained(digits)
    x = digits.test[0][:64]
    frames = x.expand(TIMESTEPS, *x.shape)
    _detach(module)
    network = adopt(module, frames.transpose(0, 1) if library.batch_first else frames)
    with torch.no_grad():
        rates = library.run(copy.deepcopy(module), x)
        ours = network(x, TIMESTEPS).mean(0)
        correct = (network(digits.test[0], TIMESTEPS).mean(0).argmax(1) == digits.test[1]).float().mean()
    fired, _ = stepped(network, frames)
    print(name, f"{100 * accuracy:.1f} %", {path: f"{100 * spikes.mean():.1f} %" for path, spikes in fired.items()})  # noqa: T201
    assert accuracy > 0.7
    assert abs(float(correct) - accuracy) < 0.01
    assert torch.allclose(ours, rates, atol=1e-6)
    assert all(0.005 < float(spikes.mean()) < 0.95 for spikes in fired.values())
    for form, precision in (("static", "fp32"), ("static", "int8"), ("step", "fp32")):
        made = export(
            network,
            x[:1],
            TIMESTEPS,
            output=tmp_path,
            name=name,
            samples=x,
            form=form,
            precision=precision,
            quantize_ends=precision == "int8",
        )
        assert made.comparison is not None
        assert made.comparison.problem() is None
        with load(made.artifact.path) as session:
            predicted = session.run(x[:16].numpy()).argmax(1)
        # In int8 the comparison with the rounded network is the proof; of 4 spikes, ties are many.
        assert precision == "int8" or (predicted == ours[:16].argmax(1).numpy()).all()
    assert set(neurons(network)) == set(fired)


def _detach(module: nn.Module) -> None:
    """States that hang on a gradient cannot be copied."""
    for layer in module.modules():
        for name, buffer in layer.named_buffers(recurse=False):
            if buffer.grad_fn is not None:
                setattr(layer, name, buffer.detach())
