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
    inputs = _inputs(example_input)
    alone = _layer("", module)
    if alone is not None and alone.is_neuron:
        raise AdoptionError(
            f"the network is a single {type(module).__name__}, and has no module path. Put it into an nn.Sequential."
        )
    found = translate(module, inputs, _layer, output=output)
    lowered = found.lowered
    for what, shape in (("takes", lowered.input_shape), ("gives", lowered.output.shape[len(lowered.output_axes) :])):
        if not shape:
            raise AdoptionError(f"the network {what} a number for each sample; it must take [B, ...] and give [B, K].")
    network = graph_network(lowered.graph, lowered.input_shape, found.output.shape[-1])
    load_graph_weights(network, lowered.weights)
    compare(module, network, inputs, found)
    return network


def _inputs(given: object) -> list[Tensor]:
    """What the forward is called with.

    Raises:
        AdoptionError: it is none of what `adopt` takes.
    """
    found = [given] if isinstance(given, Tensor) else list(given) if isinstance(given, Sequence) else []
    if not found or not all(isinstance(each, Tensor) and each.numel() for each in found):
        raise AdoptionError(
            "the example input is no tensor, or an empty one; a batch [B, ...] of real inputs is needed."
        )
    if found[0].ndim < 2:
        raise AdoptionError(f"the example input is {list(found[0].shape)}; a batch [B, ...] of real inputs is needed.")
    return found


def _layer(path: str, module: nn.Module) -> Layer | None:
    library = next((library for library in _LIBRARIES if of_package(module, library.package)), None)
    return None if library is None else library.layer(path, module)
