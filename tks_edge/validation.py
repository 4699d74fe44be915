"""The validation split, evaluated by all processes that train: a share each, the counts of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tks_edge.data.dataset import Split
from tks_edge.data.skipping import Skipped
from tks_edge.distributed.processes import Processes
from tks_edge.evaluation import evaluate
from tks_edge_models import Network


@dataclass(frozen=True)
class Validation:
    """What a network reached on the validation split.

    Attributes:
        loss: mean cross entropy of the mean output at the largest T.
        accuracies: the share of right predictions at T = 1, 2, ...
    """

    loss: float
    accuracies: tuple[float, ...]


def validate(
    network: Network,
    split: Split,
    timesteps: int,
    processes: Processes,
    *,
    batch_size: int,
    workers: int,
    skipped: Skipped | None,
    after_batch: Callable[[], None],
) -> Validation:
    """Evaluate `network` at T = 1 to `timesteps`.

    The counts are exact however many processes there are; the loss then depends on their number in its last digits.

    Args:
        network: with the same weights and statistics in every process.
        split: the whole split.
        timesteps: the largest T.
        processes: who shares the work.
        batch_size: samples a pass.
        workers: processes that load the samples.
        skipped: takes down samples that cannot be read; None: the first is an error.
        after_batch: called as often in every process.
    """
    rank, world = processes.shard
    share = split.shard(rank, world) if world > 1 else split
    made = 0

    def passed(_: int) -> None:
        nonlocal made
        made += 1
        after_batch()

    loss, read = 0.0, 0.0
    correct: list[float] = [0] * timesteps
    if len(share):
        result = evaluate(
            network,
            share,
            range(1, timesteps + 1),
            batch_size=batch_size,
            workers=workers,
            skipped=skipped,
            after_batch=passed,
        )
        read = len(result.labels)
        loss, correct = result.loss, [entry.correct for entry in result.accuracies()]
    if world > 1:
        # The first process has the largest share, and a batch of which nothing can be read is none.
        for _ in range(-(-len(split.indices[::world]) // batch_size) - made):
            after_batch()
        device = next(network.parameters()).device
        sums = torch.tensor([read, loss * read, *correct], dtype=torch.float64, device=device)
        read, loss, *correct = processes.summed(sums)()
        loss /= read
    return Validation(loss, tuple(count / read for count in correct))
