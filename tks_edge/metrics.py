"""One epoch in numbers: losses are means over samples, accuracies are fractions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What the weights after an epoch reach on the validation split.

    Attributes:
        epoch: counted from 1.
        validation_loss: cross entropy of the mean output.
        validation_accuracy: at the T of the training.
        validation_accuracy_by_timesteps: at 1 to T.
    """

    epoch: int
    validation_loss: float
    validation_accuracy: float
    validation_accuracy_by_timesteps: tuple[float, ...]

    def beats(self, other: Validated) -> bool:
        """Whether these weights are to be kept rather than those of an earlier epoch.

        Accuracy decides, and between equals the later epoch: TKS makes the outputs softer as training goes on, so the
        loss would favour early epochs for a reason that has nothing to do with their quality.
        """
        return (self.validation_accuracy, self.epoch) > (other.validation_accuracy, other.epoch)


@dataclass(frozen=True, kw_only=True)
class EpochMetrics(Validated):
    """An epoch of training: the last learning rate, means over its steps, and its wall time.

    Attributes:
        lr: of its last step.
        train_loss: mean over its samples.
        train_accuracy: likewise.
        seconds: wall time, validation included.
        waiting: the share of it in which the training waited for samples.
    """

    lr: float
    train_loss: float
    train_accuracy: float
    seconds: float
    waiting: float

    def validated(self) -> Validated:
        """The part that depends on the weights alone."""
        return Validated(
            epoch=self.epoch,
            validation_loss=self.validation_loss,
            validation_accuracy=self.validation_accuracy,
            validation_accuracy_by_timesteps=self.validation_accuracy_by_timesteps,
        )
