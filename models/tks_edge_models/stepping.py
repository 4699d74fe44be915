"""A network one timestep at a time, with the states of its neurons in the caller's hands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tks_edge_models.neuron import Neuron, State

States = dict[str, State]
"""The state of every layer of neurons, by module path; what is missing is at rest."""


def step_network(network: nn.Module, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
    """One timestep of a network.

    Args:
        network: one of ours (a `Network`), or any module of one timestep whose state is in layers of neurons.
        x: its input at this timestep, `[B, ...]`.
        states: those after the timestep before; None at rest. They are not changed.

    Returns:
        What the network gives, logits `[1, B, K]` of a `Network`; and the states after this timestep.
    """
    before, after = states or {}, dict(states or {})
    with _stepping(network, before, after):
        output: Tensor = network(x)
    return output, after


@contextmanager
def _stepping(network: nn.Module, before: States, after: States) -> Iterator[None]:
    neurons = {path: layer for path, layer in network.named_modules() if isinstance(layer, Neuron)}
    for path, layer in neurons.items():

        def forward(x: Tensor, path: str = path, layer: Neuron = layer) -> Tensor:
            current = x[0]
            spikes, after[path] = layer.step(current, before[path] if path in before else layer.rest(current))
            return spikes.unsqueeze(0)

        layer.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in neurons.values():
            del layer.forward


@contextmanager
def spikes_kept(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Keep what every layer of neurons gives, `[T, B, ...]` a call, by module path, while `network` runs."""
    found: dict[str, list[Tensor]] = {}
    handles = []
    for path, layer in network.named_modules():
        if isinstance(layer, Neuron):

            def keep(_layer: nn.Module, _inputs: object, output: Tensor, path: str = path) -> None:
                found.setdefault(path, []).append(output)

            handles.append(layer.register_forward_hook(keep))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def spikes_of(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The spikes `[T, B, ...]` of every layer of neurons, by module path, when `network` runs on `x`."""
    with spikes_kept(network) as found, torch.no_grad():
        network(x)
    return {path: calls[-1] for path, calls in found.items()}
