"""Training: one loop that can be read from top to bottom, on Lightning Fabric."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric

from tks_edge.checkpoint import Run, RunConfig, load_run, read_best, write_best, write_metrics
from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.data.dataset import Dataset
from tks_edge.data.loading import Batch, steps_per_epoch, training_batches
from tks_edge.data.registry import open_dataset, reopen
from tks_edge.device import choose_device
from tks_edge.evaluate import evaluate
from tks_edge.interrupt import deferred
from tks_edge.losses import create_loss
from tks_edge.metrics import EpochMetrics, Validated
from tks_edge.resume import Progress, load_state, needs_no_state, save_state
from tks_edge.run_directory import begun, refuse_to_overwrite
from tks_edge.schedule import Schedule
from tks_edge.settings import TrainSettings
from tks_edge.tensorboard import Board, check_installed
from tks_edge_models import LIFParameters, ModelError, Network, create
from tks_edge_runtime.errors import CheckError, InputError


class Watcher(Protocol):
    """Follows a training; see `SILENT` for one that does not."""

    def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None:
        """Training begins: `done` of `total` steps were done before."""
        ...

    def stepped(self, epoch: int, loss: float, accuracy: float) -> None:
        """A step of `epoch` (counted from 1) is done; loss and accuracy are means over the epoch so far."""
        ...

    def ended_epoch(self, metrics: EpochMetrics, best: Validated) -> None:
        """An epoch is done and saved."""
        ...


class _Silent:
    def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None: ...
    def stepped(self, epoch: int, loss: float, accuracy: float) -> None: ...
    def ended_epoch(self, metrics: EpochMetrics, best: Validated) -> None: ...


SILENT: Watcher = _Silent()


def train(
    settings: TrainSettings,
    output: Path | str,
    *,
    data: Path | str | None = None,
    download: bool = False,
    workers: int = 0,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    watcher: Watcher = SILENT,
) -> Run:
    """Train a network into the run directory `output` and give back its best epoch.

    On the same CPU the same settings give the same weights, bit for bit, interrupted and resumed or not. One that fails
    before anything is saved (an image cannot be read) leaves no directory behind.

    Args:
        settings: everything that decides the weights; see `settings.resolve`.
        output: the run directory; it must not exist, or be empty, without `resume` or `overwrite`.
        data: the folder that holds the data set.
        download: fetch CIFAR when it is not there.
        workers: processes that load samples; 0 loads them between the steps.
        device: "auto", "cpu" or "cuda".
        resume: continue the training in `output`; one that is finished is left as it is.
        overwrite: replace the run in `output`.
        tensorboard: also write TensorBoard's files.
        watcher: is told about every step and epoch.

    Raises:
        DirectoryInUseError: something stands at `output`, or another training has just begun there.
        InputError: a name that does not exist, settings other than the resumed run's, a damaged run, an image that
            cannot be read.
        MissingError: no such device on this machine, no TensorBoard, no data.
        CheckError: the loss is no finite number any more.
        KeyboardInterrupt: after Ctrl-C, once the state is saved.
    """
    path = Path(output)
    if tensorboard:
        check_installed()
    fabric = _fabric(device)
    recorded = _recorded(path, settings, resume=resume, overwrite=overwrite)
    if recorded is not None and needs_no_state(path):
        return load_run(path)
    if recorded is None:
        dataset = open_dataset(
            settings.dataset,
            data,
            image_size=settings.image_size,
            timesteps=settings.timesteps,
            frames=settings.frames,
            download=download,
        )
    else:
        dataset = reopen(recorded.dataset, data, download=download)
    torch.manual_seed(settings.seed)
    network = build_network(settings, dataset)
    begin: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if recorded is None:
        begin = begun(path, RunConfig.now(network, settings, dataset), overwrite=overwrite)
    with begin, _threads(settings.threads):
        _Training(fabric, path, settings, dataset, network, workers, watcher).run(tensorboard=tensorboard)
    return load_run(path)


def build_network(settings: TrainSettings, dataset: Dataset) -> Network:
    """The network that `settings` ask for on `dataset`, with fresh weights from torch's global generator.

    Raises:
        InputError: a name or a number is not allowed.
    """
    try:
        lif = None
        if settings.lif is not None:
            lif = LIFParameters(
                tau=settings.lif.tau,
                v_threshold=settings.lif.threshold,
                v_reset=0.0 if settings.lif.reset == "hard" else None,
                surrogate=settings.lif.surrogate,
            )
        return create(
            settings.model,
            num_classes=len(dataset.classes),
            in_channels=dataset.in_channels,
            image_size=dataset.image_size,
            neuron=settings.neuron,
            lif=lif,
            mean=dataset.mean,
            std=dataset.std,
        )
    except ModelError as error:
        raise InputError(str(error)) from error


def _fabric(device: str) -> Fabric:
    accelerator = choose_device(device)
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return Fabric(accelerator=accelerator, devices=1)


def _recorded(path: Path, settings: TrainSettings, *, resume: bool, overwrite: bool) -> RunConfig | None:
    """The configuration of the run to resume; None for a training that begins anew."""
    if resume and overwrite:
        raise InputError("--resume continues a run and --overwrite replaces it. Give one of them.")
    if not resume:
        refuse_to_overwrite(path, overwrite=overwrite)
        return None
    recorded = RunConfig.read(path)
    if differences := recorded.train.differences(settings):
        raise InputError(
            f"{path} was trained with other settings: {'; '.join(differences)}. Resume without them, or train anew "
            f"into another --output."
        )
    return recorded


class _Training:
    """A training under way: from the saved state of a run directory, or from the beginning, to the end."""

    def __init__(
        self,
        fabric: Fabric,
        path: Path,
        settings: TrainSettings,
        dataset: Dataset,
        network: Network,
        workers: int,
        watcher: Watcher,
    ) -> None:
        self.fabric = fabric
        self.path = path
        self.settings = settings
        self.dataset = dataset
        self.network = network
        self.workers = workers
        self.watcher = watcher
        self.loss = create_loss(settings.loss, settings.loss_options)
        self.steps = steps_per_epoch(len(dataset.train), settings.batch_size)
        self.total = self.steps * settings.epochs
        self.schedule = Schedule(settings.lr, self.steps * settings.warmup_epochs, self.total)
        self.adamw = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self.model, self.optimizer = fabric.setup(network, self.adamw)
        self.progress = load_state(path, network, self.adamw) or Progress()
        self.best = read_best(path) if self.progress.epoch else None

    def run(self, *, tensorboard: bool) -> None:
        """Train to the end."""
        progress, settings = self.progress, self.settings
        self.watcher.began(self.network, self.dataset, self.total, self._done())
        batches = training_batches(
            self.dataset.train,
            AUGMENTATIONS[settings.augment](self.dataset.image_size, self.dataset.mean),
            seed=settings.seed,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            start=(progress.epoch, progress.step),
            workers=self.workers,
        )
        with _board(self.path, progress.epoch, wanted=tensorboard) as log, deferred() as interrupted:
            self.interrupted = interrupted
            while progress.epoch < settings.epochs:
                self._train_epoch(batches)
                metrics = self._validate()
                self._end_epoch(metrics)
                log(metrics)

    def _train_epoch(self, batches: Iterator[Batch]) -> None:
        progress = self.progress
        self.model.train()
        while progress.step < self.steps:
            began = time.perf_counter()
            self._step(*next(batches))
            progress.step += 1
            progress.seconds += time.perf_counter() - began
            self.watcher.stepped(progress.epoch + 1, progress.loss / progress.seen, progress.correct / progress.seen)
            self._stop_if_asked()

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        settings, progress = self.settings, self.progress
        images, labels = self.fabric.to_device((images, labels))
        for group in self.adamw.param_groups:
            group["lr"] = self.schedule(self._done())
        self.optimizer.zero_grad()
        if images.ndim == 5:  # frames, [B, T, ...]
            logits = self.model(images.transpose(0, 1))
        else:
            logits = self.model(images, timesteps=settings.timesteps)
        loss = self.loss(logits, labels, progress.epoch / settings.epochs)
        value = self._finite(float(loss.detach()), "loss")
        self.fabric.backward(loss)
        if settings.clip_norm is not None:
            norm = self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False
            )
            self._finite(float(torch.as_tensor(norm)), "norm of the gradient")
        self.optimizer.step()
        progress.loss += value * len(labels)
        progress.correct += int((logits.detach().mean(0).argmax(-1) == labels).sum())
        progress.seen += len(labels)

    def _validate(self) -> EpochMetrics:
        progress = self.progress
        began = time.perf_counter()
        result = evaluate(
            self.network,
            self.dataset.validation,
            range(1, self.settings.timesteps + 1),
            batch_size=self.settings.batch_size,
            workers=self.workers,
            after_batch=lambda _: self._stop_if_asked(),
        )
        shares = tuple(entry.correct / entry.total for entry in result.accuracies())
        progress.seconds += time.perf_counter() - began
        return EpochMetrics(
            epoch=progress.epoch + 1,
            validation_loss=self._finite(result.loss, "validation loss"),
            validation_accuracy=shares[-1],
            validation_accuracy_by_timesteps=shares,
            lr=self.schedule(self._done() - 1),
            train_loss=progress.loss / progress.seen,
            train_accuracy=progress.correct / progress.seen,
            seconds=progress.seconds,
        )

    def _end_epoch(self, metrics: EpochMetrics) -> None:
        """Save the epoch: the state last, so that whatever a kill leaves out is done again."""
        best = self.best
        if best is None or metrics.beats(best):
            best = self.best = metrics.validated()
            write_best(self.path, self.network, best)
        self.progress.end_epoch(metrics)
        write_metrics(self.path, self.progress.history, best, self.settings.epochs)
        self._save()
        self.watcher.ended_epoch(metrics, best)

    def _done(self) -> int:
        return self.progress.epoch * self.steps + self.progress.step

    def _save(self) -> None:
        save_state(self.path, self.network, self.adamw, self.progress)

    def _stop_if_asked(self) -> None:
        if self.interrupted():
            self._save()
            raise KeyboardInterrupt

    def _finite(self, value: float, what: str) -> float:
        if math.isfinite(value):
            return value
        progress = self.progress
        kept = f" {self.path} keeps the last whole epoch." if progress.epoch else ""
        raise CheckError(
            f"the {what} is {value} in epoch {progress.epoch + 1}, step {progress.step + 1} of {self.steps}.{kept} "
            f"Train again with a smaller --lr or with --clip-norm 1."
        )


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Let torch compute on this many threads of the CPU within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number if number is not None else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _board(path: Path, done: int, *, wanted: bool) -> Iterator[Callable[[EpochMetrics], Any]]:
    if not wanted:
        yield lambda _: None
        return
    board = Board(path, done)
    try:
        yield board.log
    finally:
        board.close()
