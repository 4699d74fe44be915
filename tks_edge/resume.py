"""The state of an interrupted training: one file, from which it continues exactly."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tks_edge.checkpoint import LAST, SUMMARY, load_weights, read_done
from tks_edge.metrics import EpochMetrics
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge_models import Network
from tks_edge_runtime.documents import parse
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


def needs_no_state(path: Path) -> bool:
    """Whether the run directory `path` is finished and holds no state; without one an unfinished run begins anew.

    Raises:
        InputError: it is not finished, and the state that it would continue from is gone.
    """
    if (path / LAST).is_file():
        return False
    done = read_done(path)
    # One epoch and no state: killed between the two. Beginning anew comes to the same weights.
    if not done.finished and done.epochs_done > 1:
        raise InputError(
            f"{path} holds no {LAST}, from which it would continue: {SUMMARY} says that {done.epochs_done} epochs "
            f"are done. Restore it, or train again with --overwrite."
        )
    return done.finished


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
    _load_random(_below(_RANDOM, tensors), file)
    return progress


def _load_random(states: dict[str, Tensor], file: Path) -> None:
    try:
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise InputError(f"{file} is damaged: the random state is ({error}). Train again with --overwrite.") from error


def _load_optimizer(network: Network, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], file: Path) -> None:
    # Only load_state_dict puts each entry where the optimizer wants it (the step of AdamW stays on the CPU).
    state: dict[int, dict[str, Tensor]] = {}
    for index, (name, parameter) in enumerate(network.named_parameters()):
        entries = _below(f"{name}/", tensors)
        found = {key: entry.shape for key, entry in entries.items()}
        if found and found != {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}:
            raise InputError(f"{file} is damaged: the optimizer's state of {name} does not fit it. Train again.")
        if entries:
            state[index] = entries
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _progress(document: Any, file: Path) -> Progress:
    try:
        return parse(Progress, document, "progress")
    except TypeError as error:
        raise InputError(f"{file} is damaged ({error}). Train again with --overwrite.") from error


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
