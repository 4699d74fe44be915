"""Do a foreign network and ours fire the same spikes? Both run on the example, and every spike is compared."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed

import torch
from torch import Tensor, nn

from tks_edge_export.adoption.arrangement import Sequence
from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.adoption.layer import ONE_STEP, Layer
from tks_edge_export.adoption.lowering import Lowered
from tks_edge_export.adoption.recording import copied
from tks_edge_export.adoption.timeline import Timeline
from tks_edge_export.probe import named, tensors_in
from tks_edge_models import Network
from tks_edge_models.stepping import States, step_network

Spikes = dict[str, Tensor]


def compare(
    module: nn.Module,
    network: Network,
    inputs: Listed[Tensor],
    lowered: Lowered,
    line: Timeline,
    layers: Mapping[str, Layer],
) -> None:
    """Refuse a network of ours that fires other spikes than the module.

    Args:
        module: the foreign network.
        network: ours.
        inputs: of the module.
        lowered: how it was translated.
        line: its timesteps.
        layers: its layers, by path.

    Raises:
        AdoptionError: names the first layer and timestep that differ.
    """
    theirs = spikes_of(module, inputs, layers, lowered.sequence)
    timesteps = next(iter(theirs.values())).shape[0]
    ours = _ours(network, frames_of(inputs[0], lowered, timesteps, frames=line.frames))
    for path, expected in theirs.items():
        got = ours.get(path)
        if got is None:
            continue  # A neuron that nothing which is returned depends on.
        for t in range(timesteps):
            differing = int((got[t].reshape(-1) != expected[t].reshape(-1)).sum())
            if differing:
                raise AdoptionError(
                    f"{named(path, module.get_submodule(path))} fires otherwise than its translation, at timestep {t} "
                    f"{differing} of {got[t].numel()} neurons: the network does something that its record on the "
                    "example does not show (does it start at rest, and do the same at every timestep?)."
                )


def frames_of(x: Tensor, lowered: Lowered, timesteps: int, *, frames: bool) -> Tensor:
    """The input of a run as `[T, B, ...]`."""
    if lowered.axes != ONE_STEP and lowered.sequence is not None:
        return lowered.sequence.frames(x, lowered.axes)
    return x if frames else x.expand(timesteps, *x.shape)


def spikes_of(
    module: nn.Module, inputs: Listed[Tensor], layers: Mapping[str, Layer], sequence: Sequence | None
) -> Spikes:
    """The spikes `[T, B, ...]` of every neuron of a foreign module in one run."""
    network = copied(module)
    found: dict[str, list[Tensor]] = {}
    for path, layer in layers.items():
        if layer.is_neuron:

            def keep(_layer: nn.Module, _inputs: object, output: object, path: str = path) -> None:
                found.setdefault(path, []).append(tensors_in(output)[0].detach().clone())

            network.get_submodule(path).register_forward_hook(keep)
    with torch.no_grad():
        network(*(each.clone() for each in inputs))
    return {
        path: torch.stack(spikes) if sequence is None else sequence.frames(spikes[0], layers[path].axes)
        for path, spikes in found.items()
    }


def _ours(network: Network, frames: Tensor) -> Spikes:
    """The spikes of ours, by the path that the module has in the foreign network, one timestep at a time."""
    found: dict[str, list[Tensor]] = {}
    states: States | None = None
    neurons = {path.partition(".")[2]: network.get_submodule(path) for path in _neuron_paths(network)}
    for path, layer in neurons.items():

        def keep(_layer: nn.Module, _inputs: object, output: Tensor, path: str = path) -> None:
            found.setdefault(path, []).append(output[0])

        layer.register_forward_hook(keep)
    try:
        with torch.no_grad():
            for frame in frames:
                _, states = step_network(network, frame, states)
    finally:
        for layer in neurons.values():
            layer._forward_hooks.clear()
    return {path: torch.stack(spikes) for path, spikes in found.items()}


def _neuron_paths(network: Network) -> list[str]:
    from tks_edge_models import Neuron

    return [path for path, layer in network.named_modules() if isinstance(layer, Neuron)]
