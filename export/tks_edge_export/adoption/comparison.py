"""Do a foreign network and ours give the same? Both run on the example, and all spikes and outputs are compared."""

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
from tks_edge_export.adoption.translation import Translation
from tks_edge_export.probe import named, tensors_in
from tks_edge_models import Network
from tks_edge_models.graph import own_path
from tks_edge_models.stepping import States, spikes_kept, step_network

Spikes = dict[str, Tensor]

_DOES_OTHERWISE = (
    "the network does something that its record on the example does not show (does it start at rest, and do the same "
    "at every timestep?)."
)
# Of an output, relative to its largest: a sum over the same spikes in another order.
_OUTPUT_TOLERANCE = 1e-5


def compare(module: nn.Module, network: Network, inputs: Listed[Tensor], translation: Translation) -> None:
    """Refuse a network of ours that fires other spikes than the module, or gives another output.

    Args:
        module: the foreign network.
        network: ours.
        inputs: of the module.
        translation: of the one to the other.

    Raises:
        AdoptionError: names the first layer and timestep that differ.
    """
    lowered = translation.lowered
    theirs = spikes_of(module, inputs, translation.layers, lowered.sequence)
    timesteps = next(iter(theirs.values())).shape[0]
    ours, outputs = _run(network, frames_of(inputs[0], lowered, timesteps, frames=translation.line.frames))
    for path, expected in theirs.items():
        got = ours.get(path)
        if got is None:
            continue  # A neuron that nothing which is returned depends on.
        for t in range(timesteps):
            differing = int((got[t].reshape(-1) != expected[t].reshape(-1)).sum())
            if differing:
                raise AdoptionError(
                    f"{named(path, module.get_submodule(path))} fires otherwise than its translation, at timestep {t} "
                    f"{differing} of {got[t].numel()} neurons: {_DOES_OTHERWISE}"
                )
    _compare_outputs(translation, outputs)


def _compare_outputs(translation: Translation, ours: Tensor) -> None:
    """Compare the outputs `[T, B, K]` of ours with those of the run that was recorded."""
    lowered = translation.lowered
    if lowered.sequence is None:
        theirs = torch.stack([value.tensor for value in translation.line.outputs])
    else:
        theirs = lowered.sequence.frames(lowered.output.tensor, lowered.output_axes)
    difference = (ours - theirs).abs().amax()
    if not difference <= _OUTPUT_TOLERANCE * theirs.abs().amax().clamp(min=1.0):
        raise AdoptionError(
            f"the translation fires the same spikes and gives another output, by up to {float(difference):.3g}: "
            f"{_DOES_OTHERWISE}"
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


def _run(network: Network, frames: Tensor) -> tuple[Spikes, Tensor]:
    """Ours, one timestep at a time: its spikes by the path in the foreign network, and its outputs `[T, B, K]`."""
    outputs: list[Tensor] = []
    states: States | None = None
    with spikes_kept(network) as found, torch.no_grad():
        for frame in frames:
            output, states = step_network(network, frame, states)
            outputs.append(output[0])
    spikes = {name: torch.cat(steps) for path, steps in found.items() if (name := own_path(path)) is not None}
    return spikes, torch.stack(outputs)
