"""Metrics for TensorBoard, where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tks_edge.metrics import EpochMetrics
from tks_edge_runtime.errors import MissingError

FOLDER = "tensorboard"
"""Inside the run directory."""


class Board:
    """Writes the metrics of each epoch as TensorBoard scalars; close it when training ends.

    Args:
        path: the run directory.
        done: epochs that were done before; what a killed training wrote after them is hidden.

    Raises:
        MissingError: TensorBoard is not installed, or its installation is broken.
    """

    def __init__(self, path: Path, done: int) -> None:
        check_installed()
        try:
            # Not before it is needed: the import takes a fifth of a second.
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingError(
                f"TensorBoard cannot be imported ({error}). Install it anew, or train with --no-tensorboard."
            ) from error
        self._writer = SummaryWriter(str(path / FOLDER), purge_step=done + 1)

    def log(self, metrics: EpochMetrics) -> None:
        """Write one epoch."""
        scalars = {
            "loss/train": metrics.train_loss,
            "loss/validation": metrics.validation_loss,
            "accuracy/train": metrics.train_accuracy,
            "accuracy/validation": metrics.validation_accuracy,
            "lr": metrics.lr,
            "waiting": metrics.waiting,
        }
        for timesteps, accuracy in enumerate(metrics.validation_accuracy_by_timesteps, start=1):
            scalars[f"accuracy_by_timesteps/{timesteps:02d}"] = accuracy
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, metrics.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()


def is_installed() -> bool:
    """Whether TensorBoard is installed; it is not imported."""
    return importlib.util.find_spec("tensorboard") is not None


def check_installed() -> None:
    """Raise MissingError where TensorBoard is not installed."""
    if not is_installed():
        raise MissingError(
            "TensorBoard is not installed. Install it with `pip install tensorboard`, or leave --tensorboard out."
        )
