"""What `tks-edge train` shows while it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import Progress, TaskID

from tks_edge.settings import TrainSettings
from tks_edge_runtime.command import Output

if TYPE_CHECKING:
    from tks_edge.data.dataset import Dataset
    from tks_edge.metrics import EpochMetrics, Validated
    from tks_edge_models import Network

_MUCH_WAITING = 0.25


class Display:
    """Shows a training: a bar over its steps, and a line for each epoch.

    Args:
        out: where text goes.
        bar: where the bar is.
        settings: of the training.
        waits: whether the bar is there before the first step; a download has one of its own.
    """

    def __init__(self, out: Output, bar: Progress, settings: TrainSettings, *, waits: bool = True) -> None:
        self._out = out
        self._bar = bar
        self._settings = settings
        self._task: TaskID | None = bar.add_task("preparing", total=None) if waits else None

    def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None:
        """Say what is trained on what."""
        settings = self._settings
        parameters = sum(parameter.numel() for parameter in network.parameters())
        how = f"{settings.neuron}, T={settings.timesteps}" if network.is_spiking else "relu, one pass"
        self._out.say(
            f"{settings.model} ({how}, {parameters:,} parameters) on {dataset.name}: {len(dataset.train):,} samples to "
            f"train on, {len(dataset.validation):,} to validate with; loss {settings.loss}, seed {settings.seed}"
        )
        for note in dataset.notes:
            self._out.say(note)
        if done:
            self._out.say(f"continuing after step {done:,} of {total:,}")
        if dataset.test.folder == "val":
            self._out.say("no test/ there: val/ is the test split, and validation is held out of train/")
        if self._task is None:
            self._task = self._bar.add_task("training")
        self._bar.reset(self._task, description="training", total=total, completed=done)

    def stepped(self, epoch: int, loss: float, accuracy: float) -> None:
        """Move the bar."""
        if self._task is not None:
            text = f"epoch {epoch}/{self._settings.epochs}  loss {loss:.3f}  accuracy {accuracy:6.1%}"
            self._bar.update(self._task, advance=1, description=text)

    def ended_epoch(self, metrics: EpochMetrics, best: Validated) -> None:
        """Print the epoch."""
        first, last = metrics.validation_accuracy_by_timesteps[0], metrics.validation_accuracy
        steps = self._settings.timesteps
        # Worth a word where more --workers would help.
        waited = f", {metrics.waiting:.0%} of it waiting for samples" if metrics.waiting >= _MUCH_WAITING else ""
        validated = f"{last:6.1%}" if steps == 1 else f"{last:6.1%} at T={steps}, {first:6.1%} at T=1"
        self._out.say(
            f"epoch {metrics.epoch:>{len(str(self._settings.epochs))}}/{self._settings.epochs}  "
            f"loss {metrics.train_loss:.3f}  train {metrics.train_accuracy:6.1%}  validation {validated}  "
            f"{metrics.seconds:.1f} s{waited}{'  best' if best.epoch == metrics.epoch else ''}"
        )

    def noted(self, text: str) -> None:
        """Print it."""
        self._out.say(text)

    def warned(self, text: str) -> None:
        """Print a warning."""
        self._out.warn(text)
