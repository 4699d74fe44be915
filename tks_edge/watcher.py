"""Who follows a training."""

from __future__ import annotations

from typing import Protocol

from tks_edge.data.dataset import Dataset
from tks_edge.metrics import EpochMetrics, Validated
from tks_edge_models import Network


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
