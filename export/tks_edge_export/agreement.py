"""How often a graph and the trained network predict the same class: the bound on everything that rounding did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tks_edge_export.reference import Reference
from tks_edge_export.replay import Replayed
from tks_edge_export.values import Array
from tks_edge_export.watched import WatchedGraph, batches

_TORCH_BATCH = 64


@dataclass(frozen=True)
class Agreement:
    """Of `samples` inputs, for how many the graph predicts the class that the trained network predicts."""

    samples: int
    agreeing: int

    @property
    def share(self) -> float:
        """As a fraction."""
        return self.agreeing / self.samples


def top1_agreement(
    graph: Path,
    trained: nn.Module,
    inputs: Array,
    timesteps: int,
    *,
    frames: bool = False,
    rest: Mapping[str, float] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Agreement:
    """Run both freely and compare their top-1 predictions; arguments are those of `compare`.

    Raises:
        ArtifactError: the file is damaged, or ONNX Runtime cannot load it.
    """
    network = Replayed(Reference(trained), timesteps, frames=frames)
    watched = WatchedGraph(graph, network.paths, timesteps, frames=frames, rest=rest)
    agreeing = 0
    for start in range(0, len(inputs), _TORCH_BATCH):
        chunk = inputs[start : start + _TORCH_BATCH]
        wanted = network.run_freely(chunk).mean(0).argmax(1)
        done = 0
        for batch, real in batches(chunk, watched.batch_size):
            predicted = watched.run_as_shipped(batch)[:real].argmax(1)
            agreeing += int((predicted == wanted[done : done + real]).sum())
            done += real
        if on_progress is not None:
            on_progress(start + done)
    return Agreement(len(inputs), agreeing)
