"""The state of an interrupted training: one file, from which it continues exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tks_edge.checkpoint import LAST, SUMMARY, load_weights, read_done
from tks_edge.distributed.sharding import placed_like, whole
from tks_edge.metrics import EpochMetrics
from tks_edge.older_runs import upgraded_progress
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge_models import Network
from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import InputError

_MODEL, _OPTIMIZER, _EXTRA, _RANDOM = "model/", "optimizer/", "extra/", "random/"


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
        waited: seconds of it in which they waited for samples.
        history: the metrics of the epochs that are done.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    history: list[EpochMetrics] = field(default_factory=list)

    def end_epoch(self, metrics: EpochMetrics) -> None:
        """Begin the next epoch."""
        self.history.append(metrics)
        self.epoch += 1
        self.step = self.correct = self.seen = 0
        self.loss = self.seconds = self.waited = 0.0


@dataclass(frozen=True)
class SavedState:
    """What last.safetensors holds, read.

    Attributes:
        file: where it was read.
        tensors: weights, optimizer, random state and extra tensors, under a prefix each, on the CPU.
        progress: how far the training was.
    """

    file: Path
    tensors: dict[str, Tensor]
    progress: Progress


def save_state(
    path: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    extra: Mapping[str, Tensor] | None = None,
    *,
    writes: bool = True,
) -> None:
    """Write the state into the run directory `path`, in place of the one before.

    Args:
        path: the run directory.
        network: whole, or sharded among processes that all call this.
        optimizer: its optimizer.
        progress: how far the training is.
        extra: further tensors that the training continues from, by name.
        writes: whether this process writes it.
    """
    tensors = {_MODEL + name: tensor for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{_OPTIMIZER}{name}/{key}"] = value
    tensors |= {_EXTRA + name: tensor for name, tensor in (extra or {}).items()}
    tensors = whole(tensors)
    if not writes:
        return
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


def read_state(path: Path) -> SavedState | None:
    """The state in the run directory `path`; None where there is none.

    Raises:
        InputError: the file is damaged.
    """
    file = path / LAST
    if not file.is_file():
        return None
    tensors, document = read_tensors(file)
    return SavedState(file, tensors, _progress(document.get("progress"), file))


def load_state(
    saved: SavedState, network: Network, optimizer: torch.optim.Optimizer, extra: Mapping[str, Tensor] | None = None
) -> Progress:
    """Put a state into `network` and `optimizer`, which may be sharded, and into the tensors of `extra`.

    Raises:
        InputError: the state is damaged, or belongs to another network.
    """
    file = saved.file
    weights = _below(_MODEL, saved.tensors)
    load_weights(network, placed_like(weights, network.state_dict()), file)
    _load_optimizer(network, optimizer, _below(_OPTIMIZER, saved.tensors), file)
    _load_extra(extra or {}, _below(_EXTRA, saved.tensors), file)
    _load_random(_below(_RANDOM, saved.tensors), file)
    return saved.progress


def _load_extra(extra: Mapping[str, Tensor], found: dict[str, Tensor], file: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in extra.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if odd := sorted(name for name in wanted | shapes if wanted.get(name) != shapes.get(name)):
        raise InputError(f"{file} is damaged: its {odd[0]} does not fit the settings of this run. Train again.")
    with torch.no_grad():
        for name, tensor in placed_like(found, extra).items():
            extra[name].copy_(tensor)


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
            state[index] = placed_like(entries, dict.fromkeys(entries, parameter))
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _progress(document: Any, file: Path) -> Progress:
    try:
        return parse(Progress, upgraded_progress(document), "progress")
    except TypeError as error:
        raise InputError(f"{file} is damaged ({error}). Train again with --overwrite.") from error


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
