"""What the finished runs in a folder reached with each recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import TksEdgeError
from tks_edge_runtime.files import read_json


@dataclass(frozen=True)
class Achieved:
    """The best epoch of a finished run.

    Attributes:
        run: its directory.
        model: name of the network.
        timesteps: T of the training.
        validation_accuracy: a fraction, at that T, on the validation split.
    """

    run: str
    model: str
    timesteps: int
    validation_accuracy: float


def achieved(runs: Path) -> dict[str, list[Achieved]]:
    """By the name of a recipe, the finished runs of spiking networks in the folder `runs`, the best first.

    A directory that is no run, or one that cannot be read, is passed over.
    """
    from tks_edge.checkpoint import CONFIG  # needs torch

    found: dict[str, list[Achieved]] = {}
    for path in sorted(file.parent for file in runs.glob(f"*/{CONFIG}")):
        try:
            recipe, entry = _read(path)
        except (TksEdgeError, TypeError, KeyError):
            continue
        if entry is not None:
            found.setdefault(recipe, []).append(entry)
    for entries in found.values():
        entries.sort(key=lambda entry: entry.validation_accuracy, reverse=True)
    return found


def _read(path: Path) -> tuple[str, Achieved | None]:
    """The recipe of a run, and what it reached; None where it is not finished, or the ReLU twin."""
    from tks_edge.checkpoint import SUMMARY, RunConfig, read_done
    from tks_edge.metrics import Validated

    train = RunConfig.read(path).train
    if train.neuron == "relu" or not read_done(path).finished:
        return train.recipe, None
    best = parse(Validated, read_json(path / SUMMARY)["best"], "best")
    return train.recipe, Achieved(str(path), train.model, train.timesteps, best.validation_accuracy)
