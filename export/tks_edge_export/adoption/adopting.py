"""The way from a foreign module to a network of ours, to be read from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tks_edge_export.adoption import norse, sinabs, snntorch, spikingjelly, torch_layers
from tks_edge_export.adoption.comparison import compare
from tks_edge_export.adoption.errors import AdoptionError
from tks_edge_export.adoption.layer import Layer, Library, of_package
from tks_edge_export.adoption.translation import translate
from tks_edge_models import Network
from tks_edge_models.graph import graph_network
from tks_edge_models.graph_samples import load_graph_weights

_LIBRARIES: tuple[Library, ...] = (spikingjelly, snntorch, norse, sinabs, torch_layers)


def adopt(module: nn.Module, example_input: Tensor | Sequence[Tensor], *, output: int = 0) -> Network:
    """Take over a trained network of SpikingJelly, snnTorch, Norse or sinabs.

    The module may be one timestep, `[B, ...]` in and out; loop over timesteps in its forward; or run sequences,
    `[T, B, ...]` or, of sinabs, `[B, T, ...]`. Its neurons start at rest: reset their states first.

    Args:
        module: the network; it is not changed.
        example_input: what its forward takes, a real input that makes its neurons fire; where it takes states as well,
            a list of all its arguments.
        output: which of the tensors that it returns are the logits or the spikes to be counted, where it returns
            several.

    Returns:
        The network of ours, in evaluation mode, with the same weights under the same names. Called with inputs
        `[B, ...]` and T, or with `[T, B, ...]`, it fires the same spikes at every layer and timestep, and gives what
        the module gives at each timestep, `[T, B, K]`; its readout is their mean. The input is taken as it is.

    Raises:
        AdoptionError: something of the module cannot be kept; the message names the module and the property.
    """
    if not isinstance(module, nn.Module):
        raise AdoptionError(f"the network is a {type(module).__name__}; a torch.nn.Module is needed.")
    inputs = [example_input] if isinstance(example_input, Tensor) else list(example_input)
    if not inputs or not all(isinstance(each, Tensor) and each.numel() for each in inputs):
        raise AdoptionError(
            "the example input is no tensor, or an empty one; a batch [B, ...] of real inputs is needed."
        )
    found = translate(module, inputs, _layer, output=output)
    network = graph_network(found.lowered.graph, found.lowered.input_shape, found.output.shape[-1])
    load_graph_weights(network, found.lowered.weights)
    compare(module, network, inputs, found)
    return network


def _layer(path: str, module: nn.Module) -> Layer | None:
    library = next((library for library in _LIBRARIES if of_package(module, library.package)), None)
    return None if library is None else library.layer(path, module)
