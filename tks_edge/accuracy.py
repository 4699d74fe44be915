"""The accuracy of a run at each view of its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tks_edge.checkpoint import Run
from tks_edge.data.dataset import Dataset, Split
from tks_edge.data.skipping import Skipped
from tks_edge.evaluation import Evaluation, evaluate
from tks_edge.norms import network_for
from tks_edge.views import View


def evaluate_views(
    run: Run,
    dataset: Dataset,
    split: Split,
    views: Sequence[View],
    *,
    batch_size: int | None = None,
    workers: int = 0,
    skipped: Skipped | None = None,
    after_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluate a run once for all views that share its network and its frames, and once for each other.

    Args:
        run: the trained network, on any device.
        dataset: its data set, opened.
        split: a part of it.
        views: of that data set, each with a T of its own.
        batch_size: samples a pass; that of the training when not given.
        workers: as in `evaluate`.
        skipped: as in `evaluate`.
        after_batch: as in `evaluate`.

    Raises:
        InputError: as in `evaluate`.
    """
    groups: list[list[View]] = [[view] for view in views if view.is_restated]
    if shared := [view for view in views if not view.is_restated]:
        groups.append(shared)
    rows: dict[int, tuple[Tensor, Evaluation]] = {}
    for group in groups:
        found = evaluate(
            network_for(run, group[0], dataset),
            group[0].split(split),
            [view.timesteps for view in group],
            batch_size=batch_size if batch_size is not None else run.config.train.batch_size,
            workers=workers,
            skipped=skipped,
            after_batch=after_batch,
        )
        rows |= {view.timesteps: (found.predictions[index], found) for index, view in enumerate(group)}
    steps = tuple(view.timesteps for view in views)
    largest = rows[max(steps)][1]
    return Evaluation(steps, torch.stack([rows[t][0] for t in steps]), largest.labels, largest.loss)


def passes(views: Sequence[View]) -> int:
    """How often `evaluate_views` runs over the samples."""
    own = sum(view.is_restated for view in views)
    return own + (own < len(views))
