"""Batch norm's statistics of one view of the data, taken anew from training samples.

A batch norm trained on T frames knows the mean and the variance of what T frames give. The same recording in fewer
frames has more events in each and less noise: other currents, which the old statistics normalise wrongly. They are
taken again, without labels and without touching a weight, from training recordings cut as the view cuts them, and kept
in the run directory, so that whoever evaluates, exports or verifies has the same network. In a graph they are folded
into the convolutions: they cost nothing there.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from tks_edge.checkpoint import NORMS, Run
from tks_edge.data.dataset import Dataset
from tks_edge.data.loading import evaluation_batches
from tks_edge.data.skipping import Skipped
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge.views import View
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError, TksEdgeError

_SAMPLES, _BATCH = 1024, 64


def network_for(run: Run, view: View, dataset: Dataset) -> Network:
    """The network of a run as it is at a view: its own, or a copy with another input scale and other statistics.

    Args:
        run: the trained network, on any device.
        view: of the run's data set.
        dataset: that data set, opened.

    Raises:
        InputError: no training sample can be read; those that cannot are left out.
    """
    network = run.network.rebinned(view.share) if view.is_rebinned else run.network
    if not view.is_restated:
        return network
    network = copy.deepcopy(network)
    file = run.path / NORMS / f"t{view.timesteps}.safetensors"
    weights = _fingerprint(run.network)
    statistics = _kept(file, weights, network)
    if statistics is None:
        statistics = _taken(network, view, dataset)
        # A run directory may be read-only; then they are taken each time.
        with contextlib.suppress(OSError, TksEdgeError):
            file.parent.mkdir(exist_ok=True)
            write_tensors(file, statistics, {"weights": weights})
    device = next(network.parameters()).device
    network.load_state_dict({name: tensor.to(device) for name, tensor in statistics.items()}, strict=False)
    return network.eval()


def restate(network: Network, inputs: Iterable[Tensor]) -> None:
    """Take the statistics of every batch norm of `network` anew: of its mean and variance the mean over all batches.

    Args:
        network: is left evaluating, with the new statistics.
        inputs: what it is given, batch by batch, `[T, B, ...]`.
    """
    network.eval()
    for norm in (module for module in network.modules() if isinstance(module, _BatchNorm)):
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in inputs:
            network(batch)
    network.eval()


def _fingerprint(network: Network) -> str:
    """Of the weights in memory: the file that they were read from may have been replaced since."""
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(name.encode())
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _kept(file: Path, weights: str, network: Network) -> dict[str, Tensor] | None:
    """What was taken before for the same weights, where it is whole."""
    try:
        tensors, document = read_tensors(file)
    except InputError:
        return None
    wanted = {name: buffer.shape for name, buffer in _statistics(network).items()}
    fits = {name: tensor.shape for name, tensor in tensors.items()} == wanted
    return tensors if fits and document.get("weights") == weights else None


def _statistics(network: Network) -> dict[str, Tensor]:
    norms = ((name, module) for name, module in network.named_modules() if isinstance(module, _BatchNorm))
    return {f"{name}.{buffer}": tensor for name, norm in norms for buffer, tensor in norm.named_buffers()}


def _taken(network: Network, view: View, dataset: Dataset) -> dict[str, Tensor]:
    """Batch norm's statistics at a view, from training samples."""
    training = view.split(dataset.train.evenly_spaced(_SAMPLES))
    device = next(network.parameters()).device
    batches = evaluation_batches(training, _BATCH, skipped=Skipped())
    restate(network, (samples[:, : view.timesteps].transpose(0, 1).to(device) for samples, _ in batches))
    return {name: tensor.cpu() for name, tensor in _statistics(network).items()}
