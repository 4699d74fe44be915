"""Where a training begins when not with fresh weights: the network and the weights of a run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from tks_edge.checkpoint import CONFIG, MODEL, Run, load_run, load_weights, network_from
from tks_edge.data.dataset import Dataset
from tks_edge.settings import TrainSettings, resolve
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError

_SHARE_OF_EPOCHS = 0.25
_SHARE_OF_RATE = 0.1
_OF_THE_RUN = ("dataset", "model", "lif", "frames", "image_size")
"""What the run has settled: its data and its network."""


def settings_from(run: Run, given: dict[str, Any]) -> TrainSettings:
    """Settings of a training that begins with the network and the weights of `run`.

    What is not given is the recipe's of the run's data set, with a quarter of its epochs and a tenth of its learning
    rate, since the weights are good already.

    Args:
        run: where it begins.
        given: as for `settings.resolve`, without what the run has settled: data set, model and neurons.

    Raises:
        InputError: an option is not allowed, or one of what the run has settled.
    """
    known = run.config.train
    if settled := [name for name in _OF_THE_RUN if given.get(name) is not None]:
        raise InputError(
            f"{settled[0]} is that of the run {run.path}, whose network and data this training takes over. Leave "
            "it out."
        )
    asked = {name: value for name, value in given.items() if value is not None}
    neuron = asked.setdefault("neuron", known.neuron)
    if neuron == "lif" and not run.network.is_spiking:
        raise InputError(f"{run.path} is a ReLU network, whose weights know no spikes. Begin with the spiking one.")
    asked |= {"dataset": known.dataset}
    if known.image_size is not None:
        asked["image_size"] = known.image_size
    usual = resolve(asked)
    asked.setdefault("epochs", math.ceil(usual.epochs * _SHARE_OF_EPOCHS))
    asked.setdefault("lr", usual.lr * _SHARE_OF_RATE)
    return replace(
        resolve(asked),
        model=run.network.spec["name"],
        lif=known.lif if neuron == "lif" else None,
        frames=known.frames,
        start=str(run.path),
    )


def data_of(run: Run, data: Path | str | None) -> Path | None:
    """Where the data set of a run lies: `data`, or else where it lay then; None where it is not on a disk."""
    where = data if data is not None else run.config.dataset["root"]
    return None if where is None else Path(where)


def started(settings: TrainSettings, dataset: Dataset) -> tuple[Network, str]:
    """The network that `settings.start` names, with its weights, and their SHA-256.

    Raises:
        InputError: it is no trained run, or does not fit the data set.
    """
    run = load_run(Path(str(settings.start)))
    spec = run.network.spec
    for what, got, wanted in (
        ("classes", spec["num_classes"], len(dataset.classes)),
        ("channels", spec["in_channels"], dataset.in_channels),
        ("pixels a side", spec["image_size"], dataset.image_size),
    ):
        if got != wanted:
            raise InputError(
                f"the network in {run.path} has {got} {what}, and {dataset.name} {wanted}. Give the data that it was "
                "trained on, with --data."
            )
    if "graph" in spec and settings.compute.checkpoint == "blocks":
        raise InputError(f"the network in {run.path} is a graph without blocks. Use --checkpoint compact, or none.")
    network = network_from({**spec, "neuron": settings.neuron}, run.path / CONFIG)
    load_weights(network, run.network.state_dict(), run.path / MODEL)
    return network, run.weights_sha256()
