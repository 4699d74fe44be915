"""The plot of `training`: what a training step needs of memory, against T."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tks_edge_runtime.files import replacing


def plot_memory(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG with a panel for each network and a line for each variant."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys((row["network"], row["batch"]) for row in rows))
    figure = Figure(figsize=(5.5 * len(networks), 4.2), layout="constrained")
    panels = figure.subplots(1, len(networks), squeeze=False)[0]
    for panel, (network, batch) in zip(panels, networks, strict=True):
        for variant in dict.fromkeys(row["variant"] for row in rows):
            points = [
                (row["timesteps"], row["memory_mib"])
                for row in rows
                if (row["network"], row["batch"], row["variant"]) == (network, batch, variant)
                and row["memory_mib"] is not None
            ]
            if points:
                panel.plot(*zip(*points, strict=True), marker="o", label=variant)
        panel.set(title=f"{network}, batch {batch}", xlabel="timesteps T", ylabel="memory of a step (MiB)")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
