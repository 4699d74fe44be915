"""The state of an interrupted training: one file, from which it continues exactly."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tks_edge.checkpoint import LAST, load_weights
from tks_edge.metrics import EpochMetrics, parse_metrics
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError

_MODEL, _OPTIMIZER, _RANDOM = "model/", "optimizer/", "random/"


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: epochs that are done, validation included.
        step: steps that are done of the one after them.
        loss: sum of the losses of the samples in those steps.
        correct: how many of them were classified rightly.
        seen: how many samples those steps had.
        seconds: wall time that they took.
        history: the metrics of the epochs that are done.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[EpochMetrics] = field(default_factory=list)

    def end_epoch(self, metrics: EpochMetrics) -> None:
        """Begin the next epoch."""
        self.history.append(metrics)
        self.epoch += 1
        self.step = self.correct = self.seen = 0
        self.loss = self.seconds = 0.0


def save_state(path: Path, network: Network, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write the state into the run directory `path`, in place of the one before."""
    tensors = {_MODEL + name: tensor for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{_OPTIMIZER}{name}/{key}"] = value
    tensors[_RANDOM + "cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors[_RANDOM + "cuda"] = torch.cuda.get_rng_state()
    write_tensors(path / LAST, tensors, {"progress": dataclasses.asdict(progress)})


def load_state(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Put the state in the run directory `path` into `network` and `optimizer`; None where there is none.

    Raises:
        InputError: the file is damaged, or belongs to another network.
    """
    file = path / LAST
    if not file.is_file():
        return None
    tensors, document = read_tensors(file)
    progress = _progress(document.get("progress"), file)
    load_weights(network, _below(_MODEL, tensors), file)
    _load_optimizer(network, optimizer, _below(_OPTIMIZER, tensors), file)
    random = _below(_RANDOM, tensors)
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return progress


def _load_optimizer(network: Network, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], file: Path) -> None:
    # Only load_state_dict puts each entry where the optimizer wants it (the step of AdamW stays on the CPU).
    state: dict[int, dict[str, Tensor]] = {}
    for index, (name, parameter) in enumerate(network.named_parameters()):
        entries = _below(f"{name}/", tensors)
        if any(entry.ndim and entry.shape != parameter.shape for entry in entries.values()):
            raise InputError(f"{file} is damaged: the optimizer's state of {name} has another shape. Train again.")
        if entries:
            state[index] = entries
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _progress(document: Any, file: Path) -> Progress:
    try:
        history = [parse_metrics(EpochMetrics, entry, file) for entry in document["history"]]
        return Progress(**{**document, "history": history})
    except (TypeError, KeyError) as error:
        raise InputError(f"{file} is damaged ({error}). Train again with --overwrite.") from error


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
