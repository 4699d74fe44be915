"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from tks_edge.checkpoint import read_best, write_best, write_metrics
from tks_edge.computation import keeping_less, prepare
from tks_edge.data.augment import AUGMENTATIONS
from tks_edge.data.dataset import Dataset
from tks_edge.data.loading import Batch, steps_per_epoch, training_batches
from tks_edge.data.skipping import Skipped
from tks_edge.distributed.processes import LostProcessError, Processes
from tks_edge.distributed.sharding import whole, whole_network
from tks_edge.ema import WeightAverage
from tks_edge.interrupt import deferred
from tks_edge.losses import create_loss
from tks_edge.metrics import EpochMetrics
from tks_edge.objective import Objective, Step
from tks_edge.resume import Progress, load_state, read_state, save_state
from tks_edge.schedule import Schedule
from tks_edge.settings import TrainSettings
from tks_edge.settings.frames import FIRST
from tks_edge.teacher import Teacher
from tks_edge.tensorboard import Board
from tks_edge.validation import validate
from tks_edge.watcher import SILENT, Watcher
from tks_edge_models import Network
from tks_edge_models.lif_kernels import Choice
from tks_edge_runtime.errors import CheckError


@dataclass(frozen=True)
class Conduct:
    """How a training is conducted, where that changes no weight.

    Attributes:
        workers: processes that load samples.
        save_every: also save the state after every so many steps; None: after each epoch.
        skip_corrupt: whether samples that cannot be read are left out, rather than end the training.
        watcher: is told about every step and epoch.
    """

    workers: int = 0
    save_every: int | None = None
    skip_corrupt: bool = False
    watcher: Watcher = SILENT


class Training:
    """A training under way: from the saved state of a run directory, or from the beginning, to the end."""

    def __init__(
        self,
        fabric: Fabric,
        processes: Processes,
        path: Path,
        settings: TrainSettings,
        dataset: Dataset,
        network: Network,
        teacher: Teacher | None,
        kernel: Choice | None,
        conduct: Conduct,
    ) -> None:
        self.fabric = fabric
        self.processes = processes
        self.path = path
        self.settings = settings
        self.dataset = dataset
        self.network = self.whole = network
        self.conduct = conduct
        self.watcher = conduct.watcher if processes.is_first else SILENT
        self.skipped = Skipped(self.watcher.warned) if conduct.skip_corrupt else None
        self.objective = Objective(
            settings.objective,
            create_loss(settings.loss, settings.loss_options),
            settings.timesteps,
            None if teacher is None else teacher.network.to(fabric.device),
            frames=FIRST if settings.frames is None else settings.frames.fewer,
        )
        self.interrupted: Callable[[], bool] = lambda: False
        self.steps = steps_per_epoch(len(dataset.train), settings.batch_size)
        self.total = self.steps * settings.epochs
        self.schedule = Schedule(settings.lr, self.steps * settings.warmup_epochs, self.total)
        self.parts = settings.compute.accumulate
        self.kernel = kernel
        self.model = fabric.setup_module(prepare(network, settings.compute, processes, fabric.device, kernel))
        self.adamw = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self.optimizer: Any = fabric.setup_optimizers(self.adamw)
        self.average = None if settings.ema is None else WeightAverage(network, settings.ema)
        saved = processes.once(lambda: read_state(path))
        self.progress = Progress() if saved is None else load_state(saved, network, self.adamw, self._extra())
        self.best = processes.once(lambda: read_best(path)) if self.progress.epoch else None
        self.saved = self._done()

    def run(self, *, tensorboard: bool) -> None:
        """Train to the end."""
        progress, settings = self.progress, self.settings
        self.watcher.began(self.network, self.dataset, self.total, self._done())
        if self.kernel is not None:
            self.watcher.noted(f"LIF kernel: {self.kernel.name} ({self.kernel.reason})")
        batches = training_batches(
            self.dataset.train,
            AUGMENTATIONS[settings.augment](self.dataset.image_size, self.dataset.mean),
            seed=settings.seed,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            start=(progress.epoch, progress.step),
            workers=self.conduct.workers,
            shard=self.processes.shard,
            pin_memory=self.fabric.device.type == "cuda",
            skipped=self.skipped,
        )
        wanted = tensorboard and self.processes.is_first
        with _board(self.path, progress.epoch, wanted=wanted) as log, self._saying_what_is_kept(), deferred() as asked:
            self.interrupted = asked
            while progress.epoch < settings.epochs:
                self._train_epoch(batches)
                metrics = self._validate()
                self._end_epoch(metrics)
                log(metrics)
        if self.skipped:
            self.watcher.warned(str(self.skipped))

    def _train_epoch(self, batches: Iterator[Batch]) -> None:
        progress = self.progress
        self.model.train()
        while progress.step < self.steps:
            began = time.perf_counter()
            images, labels = next(batches)
            progress.waited += time.perf_counter() - began
            stop = self._step(images, labels)
            progress.step += 1
            progress.seconds += time.perf_counter() - began
            self.watcher.stepped(progress.epoch + 1, progress.loss / progress.seen, progress.correct / progress.seen)
            self._stop_if(stop)
            every = self.conduct.save_every
            if every is not None and self._done() % every == 0 and progress.step < self.steps:
                self._save()

    def _step(self, images: Tensor, labels: Tensor) -> bool:
        """Train on one batch; whether any process was asked to stop."""
        images, labels = self.fabric.to_device((images, labels))
        for group in self.adamw.param_groups:
            group["lr"] = self.schedule(self._done())
        self.optimizer.zero_grad()
        # Losses and right predictions, summed over samples; samples; requests to stop.
        tally = torch.zeros(4, dtype=torch.float64, device=images.device)
        parts = zip(images.chunk(self.parts), labels.chunk(self.parts), strict=True)
        for number, (some, theirs) in enumerate(parts, start=1):
            with self.processes.summing_locally(self.model, enabled=number < self.parts):
                done = self._forward(some, theirs)
                tally[0] += done.loss.detach().double() * len(theirs)
                tally[1] += (done.logits.mean(0).argmax(-1) == theirs).sum()
                tally[2] += len(theirs)
                if number == self.parts:
                    tally[3] = float(self.interrupted())
                    # The processes hear of each other while they compute the gradient, and stop at the same step.
                    sums = self.processes.summed(tally)
                self.fabric.backward(done.loss / self.parts)
        total, correct, seen, stop = sums()
        self._finite(total / seen, "loss")
        self._clip()
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        progress = self.progress
        progress.loss += total
        progress.correct += int(correct)
        progress.seen += int(seen)
        return bool(stop)

    def _forward(self, samples: Tensor, labels: Tensor) -> Step:
        """What these samples, `[B, C, H, W]` or `[B, T, C, H, W]`, give to be minimised."""
        by_step = samples.transpose(0, 1) if samples.ndim == 5 else samples
        with keeping_less(self.network, self.settings.compute):
            return self.objective(self.model, by_step, labels, self.progress.epoch / self.settings.epochs)

    def _clip(self) -> None:
        if self.settings.clip_norm is None:
            return
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=self.settings.clip_norm, error_if_nonfinite=False
        )
        self._finite(float(torch.as_tensor(norm)), "norm of the gradient")

    def _validate(self) -> EpochMetrics:
        progress = self.progress
        began = time.perf_counter()
        self.processes.take_buffers_of_first(self.network)
        if self.average is not None:
            self.processes.take_buffers_of_first(self.average.network)
        self.whole = whole_network(self.network) if self.average is None else self.average.network
        result = validate(
            self.whole,
            self.dataset.validation,
            self.settings.timesteps,
            self.processes,
            batch_size=max(1, self.settings.batch_size // self.processes.world // self.parts),
            workers=self.conduct.workers,
            skipped=self.skipped,
            after_batch=self._stop_if_asked,
        )
        progress.seconds += time.perf_counter() - began
        return EpochMetrics(
            epoch=progress.epoch + 1,
            validation_loss=self._finite(result.loss, "validation loss"),
            validation_accuracy=result.accuracies[-1],
            validation_accuracy_by_timesteps=result.accuracies,
            lr=self.schedule(self._done() - 1),
            train_loss=progress.loss / progress.seen,
            train_accuracy=progress.correct / progress.seen,
            seconds=progress.seconds,
            waiting=progress.waited / progress.seconds,
        )

    def _end_epoch(self, metrics: EpochMetrics) -> None:
        """Save the epoch: the state last, so that whatever a kill leaves out is done again."""
        best = self.best
        first = self.processes.is_first
        if best is None or metrics.beats(best):
            best = self.best = metrics.validated()
            if first:
                write_best(self.path, self.whole, best)
        self.progress.end_epoch(metrics)
        if first:
            left_out = None if self.skipped is None else self.skipped.to_json()
            write_metrics(self.path, self.progress.history, best, self.settings.epochs, left_out)
        self._save()
        self.watcher.ended_epoch(metrics, best)

    def _extra(self) -> dict[str, Tensor]:
        """What is saved beside the network and its optimizer."""
        return {} if self.average is None else self.average.state()

    def _done(self) -> int:
        return self.progress.epoch * self.steps + self.progress.step

    def _save(self) -> None:
        for name, parameter in self.network.named_parameters():
            self._finite(float(whole({name: parameter.detach()})[name].abs().max()), f"largest weight of {name}")
        save_state(self.path, self.network, self.adamw, self.progress, self._extra(), writes=self.processes.is_first)
        self.saved = self._done()

    def _stop_if_asked(self) -> None:
        """Stop where any process was asked to; all of them ask this together."""
        asked = torch.tensor([float(self.interrupted())], dtype=torch.float64, device=self.fabric.device)
        self._stop_if(bool(self.processes.summed(asked)()[0]))

    def _stop_if(self, asked: bool) -> None:
        if asked or (self.processes.world == 1 and self.interrupted()):
            self._save()
            self.processes.wait()
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _saying_what_is_kept(self) -> Iterator[None]:
        """Where another process is lost, say what is kept."""
        try:
            with self.processes.together():
                yield
        except LostProcessError as error:
            kept = f"{self.path} keeps the state after step {self.saved} of {self.total}: go on with --resume."
            at = f"epoch {self.progress.epoch + 1}, step {self.progress.step + 1} of {self.steps}"
            raise LostProcessError(
                f"{error} in {at}; its message, or torchrun's, says why. "
                f"{kept if self.saved else 'Nothing was saved before.'}"
            ) from error

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
def _board(path: Path, done: int, *, wanted: bool) -> Iterator[Callable[[EpochMetrics], Any]]:
    if not wanted:
        yield lambda _: None
        return
    board = Board(path, done)
    try:
        yield board.log
    finally:
        board.close()
