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

    def noted(self, text: str) -> None:
        """Something worth knowing was chosen or found."""
        ...

    def warned(self, text: str) -> None:
        """Something is not as it should be, and training goes on."""
        ...


class Silent:
    """Follows nothing; a base for watchers that look at a part."""

    def began(self, network: Network, dataset: Dataset, total: int, done: int) -> None:
        """Pass over it."""

    def stepped(self, epoch: int, loss: float, accuracy: float) -> None:
        """Pass over it."""

    def ended_epoch(self, metrics: EpochMetrics, best: Validated) -> None:
        """Pass over it."""

    def noted(self, text: str) -> None:
        """Pass over it."""

    def warned(self, text: str) -> None:
        """Pass over it."""


SILENT: Watcher = Silent()
