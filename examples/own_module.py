"""A network that tks-edge has never seen: trained by a loop of your own, exported, verified, and run."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tks_edge_export import export
from tks_edge_models import LIF
from tks_edge_runtime.session import load

SHAPES = ("sine", "square", "sawtooth")


def waves(count: int) -> tuple[Tensor, Tensor]:
    """Noisy waves `[N, 1, 64]` of random frequency and phase, and which of `SHAPES` each is."""
    phase = (torch.linspace(0, 3, 64) * (1 + torch.rand(count, 1)) + torch.rand(count, 1)) % 1
    clean = torch.stack([torch.sin(2 * math.pi * phase), torch.sign(0.5 - phase), 2 * phase - 1])
    labels = torch.randint(len(SHAPES), (count,))
    return (clean[labels, torch.arange(count)] + 0.4 * torch.randn(count, 64))[:, None], labels


class WaveNetwork(nn.Module):
    """Two spiking convolutions, the second one depthwise, joined by a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Sequential(nn.Conv1d(1, 16, 7, padding=3), nn.BatchNorm1d(16))
        self.fire = LIF()
        self.depthwise = nn.Conv1d(16, 16, 7, padding=3, groups=16)
        self.fire_again = LIF()
        self.classify = nn.Linear(32, len(SHAPES))

    def forward(self, x: Tensor, timesteps: int = 1) -> Tensor:
        """Waves `[N, 1, 64]`, shown for T timesteps, to the mean of their logits, `[N, 3]`."""
        current = self.convolve(x)
        spikes = self.fire(current.expand(timesteps, *current.shape))
        deeper = self.fire_again(self.depthwise(spikes.flatten(0, 1)).reshape(spikes.shape))
        logits: Tensor = self.classify(torch.cat([spikes, deeper], dim=2).mean(3))
        return logits.mean(0)


def main() -> None:
    """Train at T = 4, ship at T = 2."""
    torch.manual_seed(0)
    network = WaveNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(200):
        x, labels = waves(64)
        loss = cross_entropy(network(x, timesteps=4), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    network.eval()
    x, labels = waves(256)
    for precision in ("fp32", "int8"):
        exported = export(network, x[:1], timesteps=2, samples=x, precision=precision, classes=SHAPES)
        total = exported.comparison.total
        print(f"{exported.artifact.path}: {total.decisions:,} spikes compared, {total.differing} differ")
        with load(exported.artifact.path) as session:
            right = (session.run(x.numpy()).argmax(1) == labels.numpy()).mean()
            best = session.predict(x[:1].numpy())[0][0]
        print(f"{right:.1%} of {len(x)} right; the first is a {best.label}, truly a {SHAPES[int(labels[0])]}")


if __name__ == "__main__":
    main()
