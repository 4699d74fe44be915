"""A stream of event frames, one timestep a call: the graph keeps its membranes between the calls, on the device."""

from __future__ import annotations

import torch
from torch import nn

from tks_edge_export import export
from tks_edge_models import LIF, LIFParameters
from tks_edge_runtime.session import load


def main() -> None:
    """Export one timestep of a network, and feed it frame by frame."""
    torch.manual_seed(0)
    neuron = LIFParameters(v_threshold=0.1)
    network = nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1),
        LIF(neuron),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        LIF(neuron),
        nn.Flatten(),
        nn.Linear(16 * 8 * 8, 3),
    ).eval()  # its weights are random here

    # Ten frames [N, T, ...] of events of two polarities. The graph takes one frame [N, ...], and serves every T.
    recording = torch.randint(0, 3, (1, 10, 2, 32, 32)).float()
    exported = export(network, recording, timesteps=10, frames=True, form="step", name="events")
    total = exported.comparison.total
    print(f"{exported.artifact.path}: {total.decisions:,} spikes compared, {total.differing} differ")
    for state in exported.artifact.manifest.states:
        print(f"{state.input} {state.dtype}{list(state.shape)}")

    with load(exported.artifact.path) as session, session.stream() as stream:
        for frame in recording.numpy()[0]:
            logits = stream.step(frame[None])
            print(f"step {stream.steps}: class {logits.argmax()}, by the mean so far {stream.mean.argmax()}")
        stream.reset()
        print(f"at rest again, after {stream.steps} steps")


if __name__ == "__main__":
    main()
