"""What `tks-edge train` would do, with `--dry-run`: checked as a training is before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tks_edge.checkpoint import CONFIG, HISTORY, LAST, MODEL, SUMMARY, read_done
from tks_edge.data.expected import EXPECTED
from tks_edge.data.facts import facts_of
from tks_edge.data.registry import open_dataset, reopen
from tks_edge.device import choose_device
from tks_edge.resume import needs_no_state
from tks_edge.settings import TrainSettings
from tks_edge.teacher import load_teacher
from tks_edge.trainer import network_to_train, recorded_run
from tks_edge_runtime.dry_run import Intent, Written, show_intent, written
from tks_edge_runtime.errors import MissingError

if TYPE_CHECKING:
    from tks_edge.checkpoint import RunConfig
    from tks_edge.data.dataset import Dataset
    from tks_edge_runtime.command import Output


def show_train_intent(
    settings: TrainSettings,
    path: Path,
    data: Path | None,
    device: str,
    out: Output,
    *,
    download: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Say what a training with these settings into `path` would do.

    Arguments are those of `tks_edge.trainer.train`, as are the errors.
    """
    recorded = recorded_run(path, settings, resume=resume, overwrite=overwrite)
    files = [path / name for name in (CONFIG, MODEL, LAST, HISTORY, SUMMARY)]
    if recorded is not None and (needs_no_state(path) or read_done(path).finished):
        show_intent(Intent(writes=written(files, kept=True)), out)
        return
    place = choose_device(device)
    computes: list[str] = []
    writes: list[Written] = []
    with out.waiting("opening the data"):
        dataset = _opened(settings, data, recorded, is_fetched=download)
    if dataset is None:
        known = EXPECTED.get(settings.dataset)
        computes.append(f"download {settings.dataset} from {'its own site' if known is None else known.source}")
        writes.append(Written(str(data if data is not None else Path("data")), "new"))
    else:
        with torch.random.fork_rng(devices=()):
            network, _ = network_to_train(settings, dataset, recorded, path)
            if settings.objective.teacher is not None:
                load_teacher(settings.objective.teacher, dataset, settings.timesteps)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        computes.append(
            f"train {settings.model} ({settings.neuron}, T={settings.timesteps}, {parameters:,} parameters) on "
            f"{len(dataset.train):,} samples of {dataset.name} in epochs 1 to {settings.epochs} on {place}, "
            f"loss {settings.loss}"
        )
    kept = written(files[:1], kept=recorded is not None)
    show_intent(Intent(computes, [*writes, *kept, *written(files[1:])]), out)


def _opened(
    settings: TrainSettings, data: Path | None, recorded: RunConfig | None, *, is_fetched: bool
) -> Dataset | None:
    """The data set, or None where it is not there and would be downloaded."""
    downloads = facts_of(settings.dataset).downloads
    try:
        if recorded is not None:
            return reopen(recorded.dataset, data)
        return open_dataset(
            settings.dataset,
            data,
            image_size=settings.image_size,
            timesteps=settings.timesteps,
            frames=settings.frames,
            download=is_fetched and not downloads,  # which is refused
        )
    except MissingError:
        if is_fetched and downloads:
            return None
        raise
