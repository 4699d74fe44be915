"""Accuracy at every T of a list, from one pass over the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tks_edge.data.dataset import Split
from tks_edge.data.loading import evaluation_batches
from tks_edge.data.skipping import Skipped
from tks_edge.timesteps import check_timesteps
from tks_edge_models import Network
from tks_edge_runtime.artifact import Accuracy
from tks_edge_runtime.errors import InputError


@dataclass(frozen=True)
class Evaluation:
    """What a network said about every sample of a split.

    Attributes:
        timesteps: each T that was asked for.
        predictions: the class at each T, int64 `[len(timesteps), N]`.
        labels: the true class, int64 `[N]`.
        loss: mean cross entropy of the mean output at the largest T.
    """

    timesteps: tuple[int, ...]
    predictions: Tensor
    labels: Tensor
    loss: float

    def accuracies(self) -> list[Accuracy]:
        """The counts at each T."""
        correct = (self.predictions == self.labels).sum(1).tolist()
        return [Accuracy(t, n, len(self.labels)) for t, n in zip(self.timesteps, correct, strict=True)]


def evaluate(
    network: Network,
    split: Split,
    timesteps: Sequence[int],
    *,
    batch_size: int = 32,
    workers: int = 0,
    skipped: Skipped | None = None,
    after_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run a network in evaluation mode over a split, once, at the largest T.

    Step t of a network that starts at rest depends on the steps up to t alone, so the mean of the first t outputs of a
    longer run is the result of a run at T = t; of recordings, that run sees the first t frames.

    Args:
        network: the network, on any device; it is left in the mode (training or evaluation) it was in.
        split: the samples.
        timesteps: each T to give predictions for.
        batch_size: samples a pass; it does not change the result. What a network was trained with fits into memory.
        workers: processes that load the samples.
        skipped: takes down samples that cannot be read, which then count neither as right nor as wrong; None: the first
            is an error.
        after_batch: called after each batch with the number of its samples.

    Raises:
        InputError: a T is out of range, beyond the frames, or not 1 for a network without state; a sample cannot be
            read.
    """
    steps = tuple(check_timesteps(t) for t in timesteps)
    if not network.is_spiking and set(steps) != {1}:
        raise InputError(f"timesteps are {', '.join(map(str, steps))}; the ReLU network runs one pass. Use 1.")
    parameter = next(network.parameters())
    was_training = network.training
    network.eval()
    predictions, labels = [], []
    loss = 0.0
    on_gpu = parameter.device.type == "cuda"
    try:
        with torch.inference_mode():
            for images, targets in evaluation_batches(split, batch_size, workers, pin_memory=on_gpu, skipped=skipped):
                logits = _logits(network, images.to(parameter.device), max(steps)).cpu()
                predictions.append(torch.stack([logits[:t].mean(0).argmax(-1) for t in steps]))
                labels.append(targets)
                loss += float(functional.cross_entropy(logits.mean(0), targets, reduction="sum"))
                if after_batch is not None:
                    after_batch(len(targets))
    finally:
        network.train(was_training)
    read = torch.cat(labels)
    return Evaluation(steps, torch.cat(predictions, dim=1), read, loss / len(read))


def _logits(network: Network, samples: Tensor, timesteps: int) -> Tensor:
    """The logits `[T, B, K]` of still images `[B, C, H, W]`, or of the first T frames of `[B, T', C, H, W]`."""
    if samples.ndim == 5 and timesteps > samples.shape[1]:
        raise InputError(
            f"timesteps is {timesteps}, and each recording was cut into {samples.shape[1]} frames. Use at most as many."
        )
    shown = samples if samples.ndim == 4 else samples[:, :timesteps].transpose(0, 1)
    logits: Tensor = network(shown, timesteps=timesteps)
    return logits
