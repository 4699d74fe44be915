"""A training of seconds, and what the tests of it look at."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

from tks_edge.checkpoint import HISTORY, LAST, MODEL, SUMMARY
from tks_edge.data.dataset import Dataset
from tks_edge.metrics import EpochMetrics, Validated
from tks_edge.settings import TrainSettings, resolve
from tks_edge.tensors import read_tensors
from tks_edge_models import Network

STEPS = 3  # 48 images, 16 a step
EPOCHS = 3


def short(**given: Any) -> TrainSettings:
    """Settings of a training of seconds: to compile the kernel of the neurons takes longer in each new process."""
    compute = given.pop("compute", {})
    if given.get("neuron") != "relu" and not compute.get("compile"):
        compute = {"lif_kernel": "torch"} | compute
    return resolve({"timesteps": 2, "epochs": EPOCHS, "batch_size": 16, "lr": 1e-2, "compute": compute} | given)


class Watched:
    """Counts steps and epochs; sends Ctrl-C to itself after step `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.steps = 0
        self.began_at: tuple[int, int] | None = None
        self.epochs: list[int] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None:
        self.began_at = (done, total)

    def stepped(self, epoch: int, loss: float, accuracy: float) -> None:
        self.steps += 1
        assert math.isfinite(loss)
        assert 0 <= accuracy <= 1
        if self.steps == self.stop:
            signal.raise_signal(signal.SIGINT)

    def ended_epoch(self, metrics: EpochMetrics, best: Validated) -> None:
        self.epochs.append(metrics.epoch)

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def outcome(path: Path) -> dict[str, Any]:
    """Everything a training leaves that must not depend on how it got there: all but wall times."""
    tensors, document = read_tensors(path / LAST)
    for entry in document["progress"]["history"]:
        del entry["seconds"], entry["waiting"]
    history = [json.loads(line) for line in (path / HISTORY).read_text().splitlines()]
    summary = json.loads((path / SUMMARY).read_text())
    for entry in history:
        del entry["seconds"], entry["waiting"]
    del summary["seconds"]
    return {
        "last": {name: tensor.numpy().tobytes() for name, tensor in tensors.items()},
        "progress": document,
        "history": history,
        "summary": summary,
        "model": (path / MODEL).read_bytes(),
    }
