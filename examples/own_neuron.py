"""A neuron of your own: its equations as one pure step, trained, exported, verified spike by spike, and run."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tks_edge_export import export
from tks_edge_models import Neuron
from tks_edge_models.neuron import State
from tks_edge_runtime.session import load


class AdaptiveLIF(Neuron):
    """A LIF neuron that tires: each spike raises its threshold, which then falls back.

        h[t] = v[t-1] / 2 + x[t]            s[t] = 1 if h[t] >= 1 + a[t-1]
        v[t] = h[t] (1 - s[t])              a[t] = 0.8 a[t-1] + 0.5 s[t]

    Source: Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS 2018.
    """

    surrogate = "triangle"

    def rest(self, x: Tensor) -> State:
        """The membrane and the adaptation, both 0."""
        return torch.zeros_like(x), torch.zeros_like(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One timestep."""
        v, adaptation = state
        h = 0.5 * v + x
        spikes = self.fire(h - (1.0 + adaptation))
        return spikes, (h * (1.0 - spikes), 0.8 * adaptation + 0.5 * spikes)


class Network(nn.Module):
    """Two layers of such neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.fire = AdaptiveLIF()
        self.second = nn.Linear(64, 64)
        self.fire_again = AdaptiveLIF()
        self.classify = nn.Linear(64, 10)

    def forward(self, x: Tensor, timesteps: int = 1) -> Tensor:
        """Pixels `[N, 64]`, shown for T timesteps, to the mean of their logits, `[N, 10]`."""
        spikes = self.fire(self.first(x).expand(timesteps, len(x), 64))
        logits: Tensor = self.classify(self.fire_again(self.second(spikes)))
        return logits.mean(0)


def main() -> None:
    """Train at T = 4, ship at T = 2 and as one step."""
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(pixels / 4).float(), torch.from_numpy(labels)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(6):
        for rows in torch.split(torch.randperm(1500), 75):
            loss = cross_entropy(network(x[rows], timesteps=4), y[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

    network.eval()
    test, wanted = x[1500:], y[1500:].numpy()
    for form, timesteps in (("static", 2), ("step", 4)):
        exported = export(network, test[:1], timesteps, samples=test, form=form, name="tired")
        total = exported.comparison.total
        print(f"{exported.artifact.path}: {total.decisions:,} spikes compared, {total.differing} differ")
        with load(exported.artifact.path) as session:
            right = (session.run(test.numpy()).argmax(1) == wanted).mean()
        print(f"{right:.1%} of {len(test)} right")


if __name__ == "__main__":
    main()
