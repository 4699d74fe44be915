"""Accuracy against T, one line a loss, with the intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.temporal_tables import by_seed, estimate, largest, losses, ways
from tks_edge_runtime.files import replacing

_TITLES = {"first": "the first T frames", "rebin": "the whole recording in T frames"}


def draw(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """One picture a data set, a panel for each way its samples are shown."""
    written = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        shown = ways(rows, dataset)
        figure, axes = plt.subplots(
            1, len(shown), figsize=(6.5 * len(shown), 5), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, way in zip(axes[0], shown, strict=True):
            _panel(axis, rows, dataset, way)
            axis.set_title(f"{dataset}, {_TITLES[way]}" if len(shown) > 1 else dataset)
        axes[0][0].set_ylabel("accuracy (%), mean and 95 % interval over seeds")
        # The first panel has the twin as well, which takes a whole recording as one frame.
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
        written.append(folder / f"{dataset}.png")
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(written[-1]) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
        plt.close(figure)
    return written


def _panel(axis: Axes, rows: Sequence[dict[str, Any]], dataset: str, way: str) -> None:
    steps = range(1, largest(rows, dataset) + 1)
    names = losses(rows, dataset)
    colours = plt.get_cmap("tab20")
    for index, loss in enumerate(names):
        found = [by_seed(rows, dataset, loss, way, t) for t in steps]
        estimates = [estimate(list(values.values())) for values in found if values]
        reached = list(steps)[: len(estimates)]
        if len(estimates) == 1:
            axis.axhline(estimates[0].mean, color="grey", linestyle=":", label=f"{loss} (one pass)")
        elif estimates:
            # Side by side, so that one interval does not hide another.
            offset = 0.04 * (index - len(names) / 2)
            axis.errorbar(
                [t + offset for t in reached],
                [e.mean for e in estimates],
                yerr=[e.half for e in estimates],
                color=colours(index % 20),
                capsize=1.5,
                linewidth=1,
                label=loss,
                linestyle="--" if "," in loss else "-",
                marker="o",
                markersize=3,
            )
    axis.set_xlabel("T")
    axis.set_xticks(list(steps))
    axis.grid(alpha=0.3)
