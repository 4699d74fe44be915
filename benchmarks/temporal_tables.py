"""Accuracies of many trainings as tables: means over seeds, their intervals, and paired differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.temporal_losses import CONFIGURATIONS, TWIN

_CONFIDENCE = 0.95
BASELINE = "mean"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and half the width of its 95 % interval (Student's t; nan for a single seed)."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if math.isnan(self.half) else f"{self.mean:.2f} ± {self.half:.2f}"


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of independent values with its interval."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return Estimate(values[0], math.nan)
    quantile = float(t.ppf(0.5 + _CONFIDENCE / 2, n - 1))
    return Estimate(statistics.fmean(values), quantile * statistics.stdev(values) / math.sqrt(n))


def by_seed(rows: Sequence[dict[str, Any]], dataset: str, loss: str, way: str, timesteps: int) -> dict[int, float]:
    """The accuracy in percent at T of each seed."""
    return {
        row["seed"]: 100 * row["correct"][way][timesteps - 1] / row["total"]
        for row in rows
        if row["dataset"] == dataset and row["loss"] == loss and len(row["correct"].get(way, ())) >= timesteps
    }


def losses(rows: Sequence[dict[str, Any]], dataset: str) -> list[str]:
    """The losses that a data set was trained with, in the order of the comparison; the twin first."""
    there = {row["loss"] for row in rows if row["dataset"] == dataset}
    return [name for name in (TWIN, *CONFIGURATIONS) if name in there]


def ways(rows: Sequence[dict[str, Any]], dataset: str) -> list[str]:
    """How the samples of a data set were shown."""
    there = {way for row in rows if row["dataset"] == dataset for way in row["correct"]}
    return [way for way in ("first", "rebin") if way in there]


def largest(rows: Sequence[dict[str, Any]], dataset: str) -> int:
    """T of the training."""
    return max(len(counts) for row in rows if row["dataset"] == dataset for counts in row["correct"].values())


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: for each data set and way, each loss at each T, against the baseline, and against the largest T."""
    parts = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for way in ways(rows, dataset):
            parts += [_accuracies(rows, dataset, way), _differences(rows, dataset, way), _costs(rows, dataset, way)]
    return "\n".join(parts)


def _accuracies(rows: Sequence[dict[str, Any]], dataset: str, way: str) -> str:
    steps = range(1, largest(rows, dataset) + 1)
    lines = [f"\n{_title(rows, dataset, way)}: accuracy in percent", "", _header("loss", steps)]
    for loss in losses(rows, dataset):
        cells = [_cell(by_seed(rows, dataset, loss, way, t)) for t in steps]
        if any(cells):
            lines.append(f"| {loss} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _differences(rows: Sequence[dict[str, Any]], dataset: str, way: str) -> str:
    """Of the same seed, so that what a seed does to both counts for neither."""
    steps = range(1, largest(rows, dataset) + 1)
    lines = [f"\n{_title(rows, dataset, way)}: points above `{BASELINE}` of the same seed", "", _header("loss", steps)]
    base = [by_seed(rows, dataset, BASELINE, way, t) for t in steps]
    for loss in losses(rows, dataset):
        found = [by_seed(rows, dataset, loss, way, t) for t in steps]
        if loss == BASELINE or not found[-1] or not base[-1]:
            continue
        cells = [_gained(mine, theirs) for mine, theirs in zip(found, base, strict=True)]
        lines.append(f"| {loss} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _costs(rows: Sequence[dict[str, Any]], dataset: str, way: str) -> str:
    """What a smaller T costs each loss, seed by seed."""
    most = largest(rows, dataset)
    steps = range(1, most)
    title = f"\n{_title(rows, dataset, way)}: points below T={most} of the same network"
    lines = [title, "", _header("loss", steps)]
    for loss in losses(rows, dataset):
        full = by_seed(rows, dataset, loss, way, most)
        if full:
            cells = [_gained(full, by_seed(rows, dataset, loss, way, t)) for t in steps]
            lines.append(f"| {loss} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gained(mine: dict[int, float], theirs: dict[int, float]) -> str:
    return _cell({seed: mine[seed] - theirs[seed] for seed in mine.keys() & theirs.keys()})


def _title(rows: Sequence[dict[str, Any]], dataset: str, way: str) -> str:
    shown = {"first": "the first T frames", "rebin": "the whole recording in T frames"}[way]
    seeds = len({row["seed"] for row in rows if row["dataset"] == dataset})
    return f"{dataset}, {f'{shown}, ' if len(ways(rows, dataset)) > 1 else ''}{seeds} seeds"


def _header(first: str, steps: range) -> str:
    titles = [f"T={t}" for t in steps]
    return f"| {first} | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 1)}"


def _cell(values: dict[int, float]) -> str:
    return str(estimate([values[seed] for seed in sorted(values)])) if values else ""
