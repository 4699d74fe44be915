"""The run directory: what a training or an import leaves behind, and what a training resumes from.

    config.json          the network, the settings, the data set with its splits, versions
    model.safetensors    the weights of the best epoch, and which that was
    metrics.jsonl        one line an epoch; empty after an import, which has none
    metrics.json         a summary
    norms/               batch norm's statistics at other views of the data, once they are asked for; see `norms`
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

from tks_edge import plugins
from tks_edge.data.dataset import Dataset
from tks_edge.data.registry import check_record, describe, reopen
from tks_edge.metrics import EpochMetrics, Validated
from tks_edge.older_runs import SCHEMA_VERSION, upgraded
from tks_edge.origin import Origin
from tks_edge.settings import TrainSettings
from tks_edge.tensors import read_tensors, write_tensors
from tks_edge_models import ModelError, Network, from_spec
from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import InputError, nearest_beside
from tks_edge_runtime.files import read_json, sha256_of, write_json, write_text
from tks_edge_runtime.version import __version__

CONFIG, MODEL, HISTORY = "config.json", "model.safetensors", "metrics.jsonl"
SUMMARY, LAST, NORMS = "metrics.json", "last.safetensors", "norms"


@dataclass(frozen=True)
class RunConfig:
    """What config.json holds.

    Attributes:
        network: what builds it again, `Network.spec`.
        train: the settings.
        dataset: the record of the data set (`data.registry.describe`).
        versions: of tks-edge, Python and the libraries that train.
        created: when the training began, ISO 8601 in UTC.
        teacher: SHA-256 of the teacher's weights; None without a teacher.
        kernel: what computes the neurons, by name, where that was chosen; None where there is nothing to choose.
        plugins: the settings that name something of a plugin, and its distribution; see `plugins.needed`.
        start: SHA-256 of the weights that it began with; None of fresh ones.
        origin: where the network was imported from; None where it was trained here.
    """

    network: dict[str, Any]
    train: TrainSettings
    dataset: dict[str, Any]
    versions: dict[str, str]
    created: str
    teacher: str | None
    kernel: str | None
    plugins: dict[str, str]
    origin: Origin | None
    start: str | None

    @classmethod
    def now(
        cls,
        network: Network,
        settings: TrainSettings,
        dataset: Dataset,
        teacher: str | None = None,
        kernel: str | None = None,
        origin: Origin | None = None,
        start: str | None = None,
    ) -> RunConfig:
        """The configuration of a training that begins now, or of an import."""
        versions = {"tks-edge": __version__, "python": platform.python_version()}
        versions |= {name: version(name) for name in ("torch", "torchvision", "lightning-fabric", "safetensors")}
        created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        needed = plugins.needed(settings)
        made = describe(dataset), versions, created, teacher, kernel, needed, origin, start
        return cls(network.spec, settings, *made)

    def write(self, path: Path) -> None:
        """Write config.json into the run directory `path`."""
        document = {"schema_version": SCHEMA_VERSION} | {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self)
        }
        origin = None if self.origin is None else dataclasses.asdict(self.origin)
        write_json(path / CONFIG, document | {"train": self.train.to_json(), "origin": origin})

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read config.json of the run directory `path`.

        Raises:
            InputError: there is none, or it is damaged, foreign, or of a newer version.
            MissingError: it cannot be read without a plugin that is not installed here.
        """
        file = path / CONFIG
        if not file.is_file():
            near = "" if path.exists() else _nearest_run(path)
            raise InputError(
                f"{path} is no run directory: it holds no {CONFIG}.{near} Give one of `tks-edge train` or `import`."
            )
        document = read_json(file)
        if not is_ours(document):
            raise InputError(f"{file} was not written by `tks-edge train` or `import`. Give a run directory that was.")
        document = upgraded(document)
        if document["schema_version"] != SCHEMA_VERSION:
            found = document["schema_version"]
            raise InputError(
                f"{file} has schema {found}; this version reads {SCHEMA_VERSION}. Update tks-edge or make the run anew."
            )
        try:
            config = parse(cls, {name: value for name, value in document.items() if name != "schema_version"}, "config")
            check_record(config.dataset)
            return config
        except (TypeError, InputError) as error:
            if isinstance(document.get("plugins"), dict) and isinstance(document.get("train"), dict):
                plugins.check_installed(document["plugins"], document["train"], file)
            raise InputError(
                f"{file} is damaged ({error}). Restore it, or make the run again with --overwrite."
            ) from error

    def check_plugins(self, path: Path, *settings: str) -> None:
        """Refuse the run directory `path` by name where a plugin that these settings name is not installed here.

        Raises:
            MissingError: one is not.
        """
        plugins.check_installed(self.plugins, self.train.to_json(), path / CONFIG, settings)


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

    def dataset(self, root: Path | str | None = None) -> Dataset:
        """Open the data it was trained on, at `root` if it was moved; see `data.registry.reopen`."""
        return reopen(self.config.dataset, root)


def load_run(path: Path | str) -> Run:
    """Read the run directory at `path`.

    Raises:
        InputError: it is no run directory, has no trained weights yet, or a file of it is damaged or does not fit.
        MissingError: its network or its data set is of a plugin that is not installed here.
    """
    path = Path(path)
    if not path.is_dir():
        near = "" if path.exists() else _nearest_run(path)
        raise InputError(f"{path} is no folder.{near} Give a run directory that `tks-edge train` wrote.")
    config = RunConfig.read(path)
    if not (path / MODEL).is_file():
        again = "tks-edge import ... --overwrite" if config.origin is not None else "tks-edge train --resume"
        raise InputError(f"{path} has no trained weights yet. Finish it: {again} --output {path}")
    config.check_plugins(path, "model")
    tensors, document = read_tensors(path / MODEL)
    network = network_from(config.network, path / CONFIG)
    load_weights(network, tensors, path / MODEL)
    return Run(path, config, network.eval(), _best(document, path / MODEL))


def _nearest_run(path: Path) -> str:
    return nearest_beside(path, lambda one: (one / CONFIG).is_file())


def is_ours(document: Any) -> bool:
    """Whether what a config.json holds was written by `tks-edge train`, `finetune` or `import`, of whatever version."""
    if not isinstance(document, dict) or "schema_version" not in document:
        return False
    versions = document.get("versions")
    return isinstance(versions, dict) and "tks-edge" in versions


def network_from(spec: Mapping[str, Any], source: Path) -> Network:
    """Build the network that `spec` (as `Network.spec`) describes, with fresh weights.

    Raises:
        InputError: `source`, where it comes from, is damaged.
    """
    try:
        return from_spec(spec)
    except (ModelError, TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"{source} describes no network of this version ({error}). Restore it, or make the run again."
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
    return _best(read_tensors(path / MODEL)[1], path / MODEL)


def _best(document: dict[str, Any], source: Path) -> Validated:
    try:
        return parse(Validated, document.get("best"), "best")
    except TypeError as error:
        raise InputError(
            f"{source} is damaged ({error}). Restore it, or make the run again with --overwrite."
        ) from error


def write_metrics(
    path: Path, history: Sequence[EpochMetrics], best: Validated, epochs: int, skipped: dict[str, Any] | None = None
) -> None:
    """Write the line of every epoch so far and the summary, with the samples that were left out, if any may be."""
    lines = (json.dumps(dataclasses.asdict(metrics), allow_nan=False) + "\n" for metrics in history)
    write_text(path / HISTORY, "".join(lines))
    summary = {
        "finished": len(history) == epochs,
        "epochs_done": len(history),
        "epochs": epochs,
        "seconds": sum(metrics.seconds for metrics in history),
        "best": dataclasses.asdict(best),
    } | ({} if skipped is None else {"skipped": skipped})
    write_json(path / SUMMARY, summary)


@dataclass(frozen=True)
class Done:
    """How far a run is, by its summary: whether it is finished, and how many epochs are done."""

    finished: bool
    epochs_done: int


def read_done(path: Path) -> Done:
    """How far the run directory `path` is; nothing is done where it holds no summary.

    Raises:
        InputError: the summary is damaged.
    """
    file = path / SUMMARY
    if not file.is_file():
        return Done(finished=False, epochs_done=0)
    document = read_json(file)
    try:
        return parse(Done, {"finished": document["finished"], "epochs_done": document.get("epochs_done", 0)}, "metrics")
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{file} is damaged ({error}). Restore it, or make the run again with --overwrite.") from error
