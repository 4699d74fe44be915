"""The trained ReLU network that teaches a spiking one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tks_edge.checkpoint import Run, load_run
from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import describe
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError


@dataclass(frozen=True)
class Teacher:
    """A trained ReLU network, and the SHA-256 of the weights that it has in its run directory."""

    network: Network
    weights_sha256: str


def load_teacher(path: Path | str, dataset: Dataset, timesteps: int) -> Teacher:
    """The network of the run directory `path`, in evaluation mode, on the CPU, to teach on `dataset`.

    A twin of recordings was trained on all events of one in a single frame; as a teacher it is shown the mean of
    `timesteps` frames, which holds so much less, and its input is scaled up again.

    Raises:
        InputError: it is no trained run, it spikes, or it was trained on other classes, or on samples of another kind.
    """
    run = load_run(path)
    if run.network.is_spiking:
        raise InputError(
            f"{path} is a spiking network, and the teacher is a ReLU twin. Train one: tks-edge train --neuron relu"
        )
    if differences := _differences(run, dataset):
        raise InputError(
            f"the teacher in {path} was trained on other data: {'; '.join(differences)}. Train a twin on this data."
        )
    network = run.network if dataset.timesteps is None else run.network.rebinned(timesteps)
    return Teacher(network, run.weights_sha256())


def _differences(run: Run, dataset: Dataset) -> list[str]:
    """What the teacher knows otherwise than `dataset` has it."""
    found = []
    known, wanted = run.config.dataset, describe(dataset)
    if (known["name"], known["splits"]) != (wanted["name"], wanted["splits"]):
        found.append("its splits are others, and hold what this run is validated or tested on")
    theirs, mine = list(run.config.dataset["classes"]), list(dataset.classes)
    if theirs != mine:
        odd = next((i for i, (a, b) in enumerate(zip(theirs, mine, strict=False)) if a != b), None)
        at = f"class {odd} is {theirs[odd]}, not {mine[odd]}" if odd is not None else f"{len(theirs)}, not {len(mine)}"
        found.append(f"its classes are others ({at})")
    moving = run.config.train.frames is not None
    if moving != (dataset.timesteps is not None):
        found.append("it knows " + ("recordings, not still images" if moving else "still images, not recordings"))
    for name, value in (("in_channels", dataset.in_channels), ("image_size", dataset.image_size)):
        if run.network.spec[name] != value:
            found.append(f"{name} is {run.network.spec[name]}, not {value}")
    return found
