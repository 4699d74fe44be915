"""The run directory: what a training leaves behind, and what it resumes from.

    config.json          the network, the settings, the data set with its splits, versions
    model.safetensors    the weights of the best epoch, and which that was
    metrics.jsonl        one line an epoch
    metrics.json         a summary
    last.safetensors     everything that resuming needs: weights, optimizer, random state, position

Each file is replaced as a whole, and `last.safetensors` after the others: whenever a training is killed, resuming
repeats what came after the last one and writes the other files again.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import describe, reopen
from tks_edge.metrics import EpochMetrics, Validated, parse_metrics
from tks_edge.settings import TrainSettings
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge_models import ModelError, Network, create
from tks_edge_models.lif import LIFParameters
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import read_json, sha256_of, write_json, write_text
from tks_edge_runtime.version import __version__

CONFIG, MODEL, HISTORY, SUMMARY, LAST = (
    "config.json",
    "model.safetensors",
    "metrics.jsonl",
    "metrics.json",
    "last.safetensors",
)
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunConfig:
    """What config.json holds.

    Attributes:
        network: the arguments of `tks_edge_models.create`.
        train: the settings.
        dataset: the record of the data set (`data.registry.describe`).
        versions: of tks-edge, Python and the libraries that train.
        created: when the training began, ISO 8601 in UTC.
    """

    network: dict[str, Any]
    train: TrainSettings
    dataset: dict[str, Any]
    versions: dict[str, str]
    created: str

    @classmethod
    def now(cls, network: Network, settings: TrainSettings, dataset: Dataset) -> RunConfig:
        """The configuration of a training that begins now."""
        versions = {"tks-edge": __version__, "python": platform.python_version()}
        versions |= {name: version(name) for name in ("torch", "torchvision", "lightning-fabric", "safetensors")}
        created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        return cls(network.spec, settings, describe(dataset), versions, created)

    def write(self, path: Path) -> None:
        """Write config.json into the run directory `path`."""
        document = {"schema_version": SCHEMA_VERSION} | {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self)
        }
        write_json(path / CONFIG, document | {"train": self.train.to_json()})

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read config.json of the run directory `path`.

        Raises:
            InputError: there is none, or it is damaged, foreign, or of a newer version.
        """
        file = path / CONFIG
        if not file.is_file():
            raise InputError(f"{path} is no run directory: it holds no {CONFIG}. Give one that `tks-edge train` wrote.")
        document = read_json(file)
        if not isinstance(document, dict) or "schema_version" not in document:
            raise InputError(f"{file} was not written by `tks-edge train`. Give a run directory that was.")
        if document["schema_version"] != SCHEMA_VERSION:
            found = document["schema_version"]
            raise InputError(
                f"{file} has schema {found}; this version reads {SCHEMA_VERSION}. Update tks-edge or train again."
            )
        try:
            fields = {f.name: document[f.name] for f in dataclasses.fields(cls)}
            return cls(**{**fields, "train": TrainSettings.from_json(fields["train"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is damaged ({error}). Restore it, or train again with --overwrite.") from error


@dataclass(frozen=True)
class Run:
    """A trained network with everything that is known about it.

    Attributes:
        path: the run directory.
        config: what it was trained with.
        network: the weights of the best epoch, in evaluation mode, on the CPU.
        best: that epoch, and what it reached on the validation split.
    """

    path: Path
    config: RunConfig
    network: Network
    best: Validated

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.resolve().name

    def weights_sha256(self) -> str:
        """The SHA-256 of model.safetensors."""
        return sha256_of(self.path / MODEL)

    def dataset(self, root: Path | str | None = None, *, download: bool = False) -> Dataset:
        """Open the data it was trained on, at `root` if it was moved; see `data.registry.reopen`."""
        return reopen(self.config.dataset, root, download=download)


def load_run(path: Path | str) -> Run:
    """Read the run directory at `path`.

    Raises:
        InputError: it is no run directory, has no trained weights yet, or a file of it is damaged or does not fit.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} is no folder. Give a run directory that `tks-edge train` wrote, such as runs/digits.")
    config = RunConfig.read(path)
    if not (path / MODEL).is_file():
        raise InputError(f"{path} has no trained weights yet. Finish it: tks-edge train --resume --output {path}")
    tensors, document = read_tensors(path / MODEL)
    network = network_from(config.network, path / CONFIG)
    load_weights(network, tensors, path / MODEL)
    return Run(path, config, network.eval(), parse_metrics(Validated, document.get("best"), path / MODEL))


def latest_run(runs: Path | str = "runs") -> Path:
    """The run directory in the folder `runs` whose trained weights were written last.

    Raises:
        InputError: there is none.
    """
    found = [file.parent for file in Path(runs).glob(f"*/{MODEL}") if (file.parent / CONFIG).is_file()]
    if not found:
        raise InputError(f"{runs} holds no trained run. Train one first: tks-edge train")
    return max(found, key=lambda run: ((run / MODEL).stat().st_mtime_ns, run.name))


def latest_unfinished(runs: Path | str = "runs") -> Path:
    """The run directory in the folder `runs` that began last and has epochs left to train.

    Raises:
        InputError: there is none.
    """
    found = [file.parent for file in Path(runs).glob(f"*/{CONFIG}") if not _is_finished(file.parent)]
    if not found:
        raise InputError(f"{runs} holds no unfinished run. Name one with --output, or train without --resume.")
    return max(found, key=lambda run: ((run / CONFIG).stat().st_mtime_ns, run.name))


def _is_finished(run: Path) -> bool:
    return (run / SUMMARY).is_file() and bool(read_json(run / SUMMARY).get("finished"))


def network_from(spec: Mapping[str, Any], source: Path) -> Network:
    """Build the network that `spec` (as `Network.spec`) describes, with fresh weights.

    Raises:
        InputError: `source`, where it comes from, is damaged.
    """
    try:
        return create(**{**spec, "lif": LIFParameters(**spec["lif"])})
    except (ModelError, TypeError, KeyError) as error:
        raise InputError(
            f"{source} describes no network of this version ({error}). Restore it, or train again."
        ) from error


def load_weights(network: Network, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Put `tensors` into `network`.

    Raises:
        InputError: names or shapes differ; nothing was loaded then.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    odd = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if odd:
        raise InputError(
            f"{source} does not fit {CONFIG} beside it: {odd[0]} has shape {found.get(odd[0])}, expected "
            f"{expected.get(odd[0])}. They belong to different runs; restore the right one."
        )
    network.load_state_dict(dict(tensors))


def write_best(path: Path, network: Network, best: Validated) -> None:
    """Write the weights of the best epoch so far into the run directory `path`."""
    write_tensors(path / MODEL, network.state_dict(), {"best": dataclasses.asdict(best)})


def read_best(path: Path) -> Validated | None:
    """The best epoch so far of the run directory `path`, if there is one."""
    if not (path / MODEL).is_file():
        return None
    return parse_metrics(Validated, read_tensors(path / MODEL)[1].get("best"), path / MODEL)


def write_metrics(path: Path, history: Sequence[EpochMetrics], best: Validated, epochs: int) -> None:
    """Write the line of every epoch so far and the summary."""
    lines = (json.dumps(dataclasses.asdict(metrics), allow_nan=False) for metrics in history)
    write_text(path / HISTORY, "\n".join(lines) + "\n")
    summary = {
        "finished": len(history) == epochs,
        "epochs_done": len(history),
        "epochs": epochs,
        "seconds": sum(metrics.seconds for metrics in history),
        "best": dataclasses.asdict(best),
    }
    write_json(path / SUMMARY, summary)
