"""What is exported: a trained network, and what its artifacts say about it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tks_edge_export.errors import ExportError
from tks_edge_export.options import Options
from tks_edge_export.values import Array
from tks_edge_models import LIFParameters, Network, Neuron
from tks_edge_runtime.artifact import STEP, Accuracy, FrameSpec, NetworkSpec, NeuronSpec, Preprocessing, artifact_stem


@dataclass(frozen=True)
class Samples:
    """Labelled samples of a split, raw: `inputs` `[M, ...]` (images: uint8 `[M, C, H, W]`), `labels` int64 `[M]`.

    `recordings` identifies what frames were cut from, which are other inputs at every T; None for still images.
    """

    dataset: str
    split: str
    inputs: Array
    labels: Array
    recordings: str | None = None


@dataclass(frozen=True)
class Source:
    """A trained network and what its artifacts say about it.

    Attributes:
        name: what artifacts are called after.
        network: with its trained weights: one of ours, or a module of one timestep, `[N, ...]` to logits `[N, K]`.
        train_timesteps: T of the training.
        classes: names, in the order of the logits; none where their numbers will do.
        preprocessing: how an image file becomes an input; None where the input is no image.
        weights_sha256: of the checkpoint.
        samples: what the accuracies were taken on; the golden pair and the comparison are drawn from them.
        accuracies: of the network in PyTorch, over the whole of `samples`.
        calibration: inputs, like those of `samples`, that int8 may look at; not the samples that accuracy is taken on.
        frames: how recordings become the inputs; None where they are not frames, or were made elsewhere.
    """

    name: str
    network: nn.Module
    train_timesteps: int
    classes: tuple[str, ...]
    preprocessing: Preprocessing | None
    weights_sha256: str
    samples: Samples
    accuracies: tuple[Accuracy, ...]
    calibration: Array | None = None
    frames: FrameSpec | None = None

    def stem(self, options: Options) -> str:
        """The file name without ending of an artifact of this source; see `stem_of`."""
        return stem_of(self.name, self.frames, options)

    def batches(self, size: int, dtype: str) -> Iterable[Array] | None:
        """The calibration inputs in batches of `size`, or None where there are none."""
        inputs = self.calibration
        if inputs is None:
            return None
        return (inputs[start : start + size].astype(dtype) for start in range(0, len(inputs), size))


def network_spec(network: nn.Module) -> NetworkSpec:
    """Which network this is; one that is not of the registry goes by its class."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if isinstance(network, Network):
        return NetworkSpec(network.spec["name"], network.spec["neuron"], network.spec, parameters)
    spiking = any(isinstance(module, Neuron) for module in network.modules())
    return NetworkSpec(type(network).__name__, "lif" if spiking else "relu", {}, parameters)


def neuron_spec(network: nn.Module) -> NeuronSpec | None:
    """The constants of the network's neurons; None where it has none, several kinds, or one that is no LIF."""
    found = {_spec(layer.equivalent) for layer in network.modules() if isinstance(layer, Neuron)}
    return found.pop() if len(found) == 1 else None


def _spec(params: LIFParameters | None) -> NeuronSpec | None:
    if params is None:
        return None
    tau = None if math.isinf(params.tau) else params.tau
    return NeuronSpec(tau, params.v_threshold, params.v_reset, params.decay_input, params.v_jump)


def weights_sha256(network: nn.Module) -> str:
    """The SHA-256 of a network's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def first_batch(inputs: Array, size: int) -> Array:
    """One static batch of real samples; too few are repeated."""
    if size < 1:
        raise ExportError(f"batch size is {size}; at least 1 is needed.")
    return inputs[np.arange(size) % len(inputs)]


def evenly_spaced(inputs: Array, count: int) -> Array:
    """At most `count` samples: a set that is sorted by class would otherwise show its first classes alone.

    Raises:
        ExportError: none are asked for.
    """
    if count < 1:
        raise ExportError(f"the graph is to be compared on {count} samples; at least 1 is needed.")
    return inputs[np.linspace(0, len(inputs) - 1, min(count, len(inputs)), dtype=int)]


def stem_of(name: str, frames: FrameSpec | None, options: Options) -> str:
    """The file name without ending of an artifact of a network of that name, shown recordings as `frames` says.

    A step graph serves every T and has none in its name, but for one whose batch norm has the statistics of one T.
    """
    own = options.form == STEP and frames is not None and frames.norms_restated
    name = f"{name}-t{options.timesteps}" if own else name
    return artifact_stem(name, options.timesteps, options.precision, form=options.form, target=options.target)
